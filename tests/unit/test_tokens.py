import asyncio
from typing import Any

import pytest

from haven.core.logical import Response, Verb
from haven.errors import NotActive, OutcomeUnknown
from haven.storage.base import Delete
from support.running_core import START, Core, Refused, one_error, start


@pytest.fixture
async def core() -> Core:
    return await start()


async def lookup(core: Core, token: str) -> Any:
    return await core.read("auth/token/lookup-self", token=token)


async def auth(core: Core, path: str, body: dict[str, Any], token: str | None = None) -> Response:
    response = await core(Verb.UPDATE, f"auth/token/{path}", body, token=token)
    assert response is not None
    assert response.auth is not None
    return response


async def test_lookup_self_of_root(core: Core) -> None:
    data = await lookup(core, core.root)
    accessor = data.pop("accessor")
    assert len(accessor) == 24
    assert core.root.startswith("hvs.")
    assert len(core.root) == 28
    assert data == {
        "creation_time": int(START),
        "creation_ttl": 0,
        "display_name": "root",
        "entity_id": "",
        "expire_time": None,
        "explicit_max_ttl": 0,
        "id": core.root,
        "meta": None,
        "num_uses": 0,
        "orphan": True,
        "path": "auth/token/root",
        "policies": ["root"],
        "ttl": 0,
        "type": "service",
    }
    with Refused(400, "lease is not renewable"):
        await core.write("auth/token/renew-self")


async def test_a_token_expires(core: Core) -> None:
    token = await core.token(policies=["p"], ttl="1m")
    data = await lookup(core, token)
    assert (data["ttl"], data["expire_time"]) == (60, "2023-11-14T22:14:20Z")
    assert data["policies"] == ["default", "p"]
    core.clock.time += 59.9
    await lookup(core, token)
    core.clock.time += 0.1
    with Refused(403, "permission denied"):
        await lookup(core, token)


async def test_renewal_is_capped_by_the_explicit_maximum(core: Core) -> None:
    token = await core.token(ttl="1m", explicit_max_ttl="2m")
    core.clock.time += 50
    response = await auth(core, "renew-self", {"increment": "60s"}, token)
    assert response.auth is not None
    assert response.auth["lease_duration"] == 60
    core.clock.time += 50
    response = await auth(core, "renew", {"token": token}, core.root)
    assert response.auth is not None
    assert response.auth["lease_duration"] == 20
    assert "capped" in response.warnings[0]


async def test_a_periodic_token_lives_on_as_long_as_it_is_renewed(core: Core) -> None:
    token = await core.token(period="1h")
    for _ in range(1000):
        core.clock.time += 3599
        await auth(core, "renew-self", {}, token)
    assert (await lookup(core, token))["period"] == 3600


async def test_a_ttl_beyond_the_maximum_is_capped_with_a_warning(core: Core) -> None:
    response = await auth(core, "create", {"policies": ["root"], "ttl": "10000h"})
    assert response.auth is not None
    assert response.auth["lease_duration"] == 2764800
    assert "768h0m0s" in response.warnings[0]
    with Refused(400, "expiring root tokens cannot create non-expiring root tokens"):
        await auth(core, "create", {}, response.auth["client_token"])


async def test_uses_are_counted_and_the_last_one_still_works(core: Core) -> None:
    token = await core.token(num_uses=3)
    await core.write("cubbyhole/a", {"x": 1}, token=token)
    assert (await lookup(core, token))["num_uses"] == 1
    assert await core.read("cubbyhole/a", token=token) == {"x": 1}
    with Refused(403):
        await core.read("cubbyhole/a", token=token)
    assert len([key for key in core.view.values if "token/id" in key]) == 1
    assert not [key for key in core.view.values if "revoking" in key or "cubbyhole" in key]


async def test_concurrent_uses_are_all_counted(core: Core) -> None:
    token = await core.token(num_uses=3)
    results = await asyncio.gather(*(lookup(core, token) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(result, dict) for result in results) == 3


async def test_a_use_is_counted_though_its_client_went_away(core: Core) -> None:
    token = await core.token(num_uses=2)
    commit = core.view.commit
    begun, release = asyncio.Event(), asyncio.Event()

    async def held(operations: Any) -> None:
        begun.set()
        await release.wait()
        await commit(operations)

    core.view.commit = held  # type: ignore[method-assign]
    first = asyncio.create_task(lookup(core, token))
    await begun.wait()
    first.cancel()
    second = asyncio.create_task(lookup(core, token))
    release.set()
    assert (await second)["num_uses"] == 0
    with Refused(403):
        await lookup(core, token)


async def test_children_go_with_their_parent(core: Core) -> None:
    rules = 'path "auth/token/create" { capabilities = ["update"] }'
    await core.write("sys/policy/maker", {"policy": rules})
    parent = await core.token(policies=["maker"])
    made = await auth(core, "create", {}, parent)
    assert made.auth is not None
    child = made.auth["client_token"]
    made = await auth(core, "create", {"policies": ["maker"]}, child)
    assert made.auth is not None
    grandchild = made.auth["client_token"]
    orphan = await core.token(policies=["maker"], no_parent=True)
    await core.write("auth/token/revoke", {"token": parent})
    for token in (parent, child, grandchild):
        with Refused(403):
            await lookup(core, token)
    assert (await lookup(core, orphan))["orphan"] is True
    ids = [key for key in core.view.values if key.startswith("sys/token/id/")]
    assert len(ids) == 2
    assert len([key for key in core.view.values if key.startswith("sys/token/accessor/")]) == 2


async def test_revoke_orphan_keeps_the_children(core: Core) -> None:
    rules = 'path "auth/token/create" { capabilities = ["update"] }'
    await core.write("sys/policy/maker", {"policy": rules})
    parent = await core.token(policies=["maker"])
    made = await auth(core, "create", {}, parent)
    assert made.auth is not None
    child = made.auth["client_token"]
    assert (await lookup(core, child))["orphan"] is False
    await core.write("auth/token/revoke-orphan", {"token": parent})
    with Refused(403):
        await lookup(core, parent)
    assert (await lookup(core, child))["orphan"] is True


@pytest.mark.parametrize("cut", range(1, 9))
async def test_a_revocation_that_was_cut_short_is_finished_by_the_next_term(core: Core, cut: int) -> None:
    rules = 'path "auth/token/create" { capabilities = ["update"] }'
    await core.write("sys/policy/maker", {"policy": rules})
    parent = await core.token(policies=["maker"])
    tokens = [parent]
    for holder in (parent, parent):
        made = await auth(core, "create", {}, holder)
        assert made.auth is not None
        tokens.append(made.auth["client_token"])
    commit, done = core.view.commit, 0

    async def limited(operations: Any) -> None:
        nonlocal done
        done += 1
        if done > cut:
            raise NotActive
        await commit(operations)

    core.view.commit = limited  # type: ignore[method-assign]
    try:
        await core.write("auth/token/revoke", {"token": parent})
    except NotActive:
        with Refused(403):
            await lookup(core, parent)
    core.view.commit = commit  # type: ignore[method-assign]
    after = await core.restarted()
    await after.running.tidy()
    for token in tokens:
        with Refused(403):
            await lookup(after, token)
    assert len([key for key in core.view.values if key.startswith("sys/token/")]) == 3


async def test_a_child_cannot_slip_past_the_revocation_of_its_parent(core: Core) -> None:
    parent = await core.token(policies=["root"])
    commit = core.view.commit

    async def slow(operations: Any) -> None:
        is_creation = len(operations) == 3 and not any(isinstance(one, Delete) for one in operations)
        for _ in range(40 if is_creation else 1):
            await asyncio.sleep(0)
        await commit(operations)

    core.view.commit = slow  # type: ignore[method-assign]
    results = await asyncio.gather(
        *(auth(core, "create", {}, parent) for _ in range(3)),
        core.write("auth/token/revoke", {"token": parent}),
        *(auth(core, "create", {}, parent) for _ in range(3)),
        return_exceptions=True,
    )
    for result in results:
        if isinstance(result, Response) and result.auth:
            with Refused(403):
                await lookup(core, result.auth["client_token"])
    assert len([key for key in core.view.values if key.startswith("sys/token/id/")]) == 1


async def test_accessors(core: Core) -> None:
    token = await core.token(meta={"a": "b"})
    accessor = (await lookup(core, token))["accessor"]
    found = await core.write("auth/token/lookup-accessor", {"accessor": accessor})
    assert (found["id"], found["meta"]) == ("", {"a": "b"})
    listed = await core(Verb.LIST, "auth/token/accessors")
    assert listed is not None
    assert listed.data is not None
    assert accessor in listed.data["keys"]
    assert len(listed.data["keys"]) == 2
    await core.write("auth/token/revoke-accessor", {"accessor": accessor})
    with Refused(403):
        await lookup(core, token)
    with Refused(400, one_error("invalid accessor")):
        await core.write("auth/token/lookup-accessor", {"accessor": accessor})


async def test_what_a_token_without_sudo_may_create(core: Core) -> None:
    rules = 'path "auth/token/*" { capabilities = ["update"] }'
    await core.write("sys/policy/maker", {"policy": rules})
    maker = await core.token(policies=["maker", "other"])
    made = await auth(core, "create", {"policies": ["other"], "no_default_policy": True}, maker)
    assert made.auth is not None
    assert made.auth["policies"] == ["other"]
    refusals = {
        "child policies must be subset of parent": {"policies": ["more"]},
        "root or sudo privileges required to specify token id": {"id": "mine"},
        "root or sudo privileges required to create orphan token": {"no_parent": True},
        "root or sudo privileges required to create periodic token": {"period": "1h"},
    }
    for text, body in refusals.items():
        with Refused(400, text):
            await auth(core, "create", body, maker)
    with Refused(403):
        await auth(core, "create-orphan", {}, maker)
    await core.write("sys/policy/maker", {"policy": 'path "*" { capabilities = ["update", "sudo"] }'})
    with Refused(400, "root tokens may not be created without parent token being root"):
        await auth(core, "create", {"policies": ["root"]}, maker)
    assert (await auth(core, "create", {"policies": ["more"]}, maker)).auth is not None
    limited = await core.token(policies=["maker"], num_uses=5)
    with Refused(400, "restricted use token cannot generate child tokens"):
        await auth(core, "create", {}, limited)


async def test_a_chosen_id_must_be_free(core: Core) -> None:
    assert await core.token(id="mine") == "mine"
    await lookup(core, "mine")
    with Refused(400, "cannot create a token with a duplicate ID"):
        await core.token(id="mine")


async def test_unsupported_paths_and_verbs(core: Core) -> None:
    with Refused(405, one_error("unsupported operation")):
        await core.read("auth/token/create")
    with Refused(404, one_error("unsupported path")):
        await core.read("auth/token/none")
    with Refused(404):
        await core(Verb.LIST, "auth/token/roles")
    with Refused(400, "only service tokens are supported"):
        await core.token(type="batch")


async def test_an_unknown_outcome_stays_unknown(core: Core) -> None:
    core.view.failures = [(OutcomeUnknown("lost"), True)]
    with pytest.raises(OutcomeUnknown):
        await core.token()


async def test_a_root_token_can_be_made_for_holders_of_unseal_keys(core: Core) -> None:
    token = await core.running.create_root_token()
    assert (await lookup(core, token))["policies"] == ["root"]


async def test_a_child_is_valid_only_as_long_as_its_parent(core: Core) -> None:
    rules = 'path "auth/token/create" { capabilities = ["update"] }'
    await core.write("sys/policy/maker", {"policy": rules})
    parent = await core.token(policies=["maker"], ttl="1m")
    made = await auth(core, "create", {"ttl": "1h"}, parent)
    assert made.auth is not None
    await lookup(core, made.auth["client_token"])
    core.clock.time += 61
    with Refused(403):
        await lookup(core, made.auth["client_token"])


async def test_a_spent_token_is_removed_by_the_next_term_if_this_one_could_not(core: Core) -> None:
    token = await core.token(num_uses=1)
    commit, done = core.view.commit, 0

    async def only_the_first(operations: Any) -> None:
        nonlocal done
        done += 1
        if done > 1:
            raise NotActive
        await commit(operations)

    core.view.commit = only_the_first  # type: ignore[method-assign]
    with pytest.raises(NotActive):
        await lookup(core, token)
    core.view.commit = commit  # type: ignore[method-assign]
    assert len([key for key in core.view.values if key.startswith("sys/token/id/")]) == 2
    after = await core.restarted()
    with Refused(403):
        await lookup(after, token)
    await after.running.tidy()
    assert len([key for key in core.view.values if key.startswith("sys/token/id/")]) == 1


async def test_an_accessor_without_a_token_is_a_warning_when_revoked(core: Core) -> None:
    response = await core(Verb.UPDATE, "auth/token/revoke-accessor", {"accessor": "none"})
    assert response is not None
    assert response.warnings == ["No token found with this accessor"]
    with Refused(400, one_error("missing accessor")):
        await core.write("auth/token/revoke-accessor", {})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"id": "hvs.mine"}, "custom token ID cannot have the 'hvs.' prefix"),
        ({"id": "my.own"}, "custom token ID cannot have a '.' in the value"),
        ({"type": "nonsense"}, "invalid 'token_type' value"),
    ],
)
async def test_refused_tokens(core: Core, body: dict[str, str], text: str) -> None:
    with Refused(400, text):
        await core.write("auth/token/create", body)


async def test_renew_needs_a_token(core: Core) -> None:
    with Refused(400, "missing token ID"):
        await core.write("auth/token/renew", {})
