"""First start: a key file that is made once, a cluster that is initialised once."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_double import ApiDouble

from haven import bootstrap
from haven.bootstrap import BootstrapFailed, Initialiser, Shares, make_seal_key


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def api() -> Iterator[ApiDouble]:
    double = ApiDouble()
    yield double
    double.close()


def initialiser(api: ApiDouble, output: Path, patience: float = 60) -> Initialiser:
    return Initialiser([api.url], output, Shares(5, 3), patience)


def test_the_seal_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "seal" / "key"
    assert make_seal_key(path)
    key = path.read_bytes()
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o400
    assert not make_seal_key(path)
    assert path.read_bytes() == key
    assert list(path.parent.iterdir()) == [path]


def test_of_many_at_once_one_makes_the_seal_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    barrier = threading.Barrier(4)
    write = bootstrap._write_once

    def together(*arguments: object) -> bool:
        barrier.wait(60)
        return write(*arguments)

    monkeypatch.setattr(bootstrap, "_write_once", together)
    made: list[bool] = []
    threads = [threading.Thread(target=lambda: made.append(make_seal_key(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made) == [False, False, False, True]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("seal", "body"),
    [
        ("static", {"recovery_shares": 5, "recovery_threshold": 3}),
        ("shamir", {"secret_shares": 5, "secret_threshold": 3}),
    ],
)
def test_it_initialises_and_keeps_the_answer(api: ApiDouble, tmp_path: Path, seal: str, body: object) -> None:
    api.seal = seal
    output = tmp_path / "keys" / "init.json"
    assert initialiser(api, output).run()
    assert api.inits == [body]
    kept = json.loads(output.read_bytes())
    assert kept["root_token"] == "hvs.rootrootroot"
    assert kept["unseal_keys_b64"] == ["a2V5"], "as `operator init -format=json` names it"
    assert output.stat().st_mode & 0o777 == 0o600


def test_a_second_run_changes_nothing(api: ApiDouble, tmp_path: Path) -> None:
    output = tmp_path / "init.json"
    initialiser(api, output).run()
    before = output.read_bytes()
    assert not initialiser(api, output).run()
    assert len(api.inits) == 1
    assert output.read_bytes() == before


def test_of_two_at_once_one_initialises(api: ApiDouble, tmp_path: Path) -> None:
    output = tmp_path / "init.json"
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(initialiser(api, output).run())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [False, True]
    assert len(api.inits) == 1


def test_it_tries_again_after_503_which_means_not_done(api: ApiDouble, tmp_path: Path) -> None:
    api.busy = 3
    assert initialiser(api, tmp_path / "init.json").run()
    assert len(api.inits) == 1


def test_a_lost_answer_is_told_and_not_repeated(api: ApiDouble, tmp_path: Path) -> None:
    api.drop_init = True
    output = tmp_path / "init.json"
    with pytest.raises(BootstrapFailed, match="keys that nobody has"):
        initialiser(api, output).run()
    with pytest.raises(BootstrapFailed, match="does not exist"):
        initialiser(api, output).run()
    assert len(api.inits) == 1
    assert not output.exists()


def test_the_keys_of_an_earlier_cluster_are_moved_aside(api: ApiDouble, tmp_path: Path) -> None:
    output = tmp_path / "init.json"
    output.write_text("earlier")
    assert initialiser(api, output).run()
    assert (tmp_path / "init.json.old-1").read_text() == "earlier"
    assert json.loads(output.read_bytes())["root_token"]


def test_it_gives_up_when_no_node_answers(api: ApiDouble, tmp_path: Path) -> None:
    api.close()
    with pytest.raises(BootstrapFailed, match="no node tells"):
        initialiser(api, tmp_path / "init.json", patience=0.05).run()


def test_no_key_is_logged(api: ApiDouble, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    make_seal_key(tmp_path / "key")
    initialiser(api, tmp_path / "init.json").run()
    assert "initialised" in caplog.text
    assert "hvs." not in caplog.text
    assert "a2V5" not in caplog.text


def test_a_node_that_does_not_know_yet_costs_no_keys(
    api: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.initialised = True
    output = tmp_path / "init.json"
    output.write_text("keys")
    answer, early = api.answer, [(200, {"initialized": False})]

    def unknowing(method: str, path: str, body: dict[str, object]) -> object:
        asked = (method, path) == ("GET", "/v1/sys/init")
        return early.pop() if asked and early else answer(method, path, body)

    monkeypatch.setattr(api, "answer", unknowing)
    assert not initialiser(api, output).run()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["init.json"]
    assert output.read_text() == "keys"
