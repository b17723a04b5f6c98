import base64

import pytest

from haven.core.logical import Verb
from haven.core.policies import DEFAULT_POLICY
from haven.core.policy_rules import parse_policy
from haven.core.system.policies import RULES_DEPRECATED
from support.running_core import Core, Refused, one_error, start

TEXT = 'path "secret/*" { capabilities = ["read"] }'


@pytest.fixture
async def core() -> Core:
    return await start()


async def test_the_default_policy_can_be_read() -> None:
    assert parse_policy(DEFAULT_POLICY)


@pytest.mark.parametrize(("base", "field"), [("sys/policies/acl", "policy"), ("sys/policy", "rules")])
async def test_write_read_list_delete(core: Core, base: str, field: str) -> None:
    await core.write(f"{base}/Mine", {"policy": TEXT})
    assert await core.read(f"{base}/mine") == {"name": "mine", field: TEXT}
    assert (await core.read(base))["keys"] == ["default", "mine", "root"]
    await core(Verb.DELETE, f"{base}/mine")
    with Refused(404):
        await core.read(f"{base}/mine")


async def test_a_policy_may_come_in_base64(core: Core) -> None:
    await core.write("sys/policy/p", {"policy": base64.b64encode(TEXT.encode()).decode()})
    assert (await core.read("sys/policy/p"))["rules"] == TEXT


async def test_refusals(core: Core) -> None:
    with Refused(400, "'policy' parameter not supplied or empty"):
        await core.write("sys/policy/p", {})
    with Refused(400, 'failed to parse policy: path "a": invalid capability "x"'):
        await core.write("sys/policy/p", {"policy": 'path "a" { capabilities = ["x"] }'})
    with Refused(400, 'cannot update "root" policy'):
        await core.write("sys/policy/root", {"policy": TEXT})
    for name, told in (("root", '"root"'), ("default", "default")):
        with Refused(400, f"cannot delete {told} policy"):
            await core(Verb.DELETE, f"sys/policy/{name}")
    assert core.view.commits == []


async def test_capabilities(core: Core) -> None:
    await core.write("sys/policy/p", {"policy": TEXT})
    token = await core.token(policies=["p"])
    data = await core.write("sys/capabilities-self", {"paths": ["secret/a"]}, token=token)
    assert data == {"secret/a": ["read"], "capabilities": ["read"]}
    data = await core.write("sys/capabilities", {"paths": ["secret/a", "b"], "token": token})
    assert data == {"secret/a": ["read"], "b": ["deny"]}
    accessor = (await core.read("auth/token/lookup-self", token=token))["accessor"]
    data = await core.write("sys/capabilities-accessor", {"path": "secret/a", "accessor": accessor})
    assert data["capabilities"] == ["read"]
    data = await core.write("sys/capabilities-self", {"path": "x"})
    assert data["capabilities"] == ["root"]
    with Refused(400, one_error("invalid token")):
        await core.write("sys/capabilities", {"path": "x", "token": "bad"})
    with Refused(400, "paths must be supplied"):
        await core.write("sys/capabilities-self", {})


async def test_the_old_name_of_the_text_is_warned_of(core: Core) -> None:
    response = await core(Verb.UPDATE, "sys/policy/p", {"rules": TEXT})
    assert response is not None
    assert response.warnings == [RULES_DEPRECATED]
    assert await core(Verb.UPDATE, "sys/policy/p", {"policy": TEXT}) is None


async def test_root_is_listed_last(core: Core) -> None:
    await core.write("sys/policy/zebra", {"policy": TEXT})
    assert (await core.read("sys/policy"))["keys"] == ["default", "zebra", "root"]
