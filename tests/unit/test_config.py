"""What a node accepts as configuration, and how it refuses the rest."""

import dataclasses
from pathlib import Path

import pytest

from haven.config import Address, Config, Forwarding, Invalid, SealKind, StorageKind, spread
from haven.ha.timing import Timing
from haven.variables import VARIABLES


def config(**values: str) -> Config:
    return Config.from_environment({"HAVEN_NODE": "haven-2", **values})


def test_every_default_holds() -> None:
    made = config()
    assert made.node == "haven-2"
    assert made.http.listen == Address("0.0.0.0", 8200)
    assert made.http.api_address == "http://haven-2:8200"
    assert made.cluster.address == "haven-2:8201"
    assert made.cluster.trust_resets
    assert (made.storage, made.seal, made.forwarding) == (
        StorageKind.CONSUL,
        SealKind.SHAMIR,
        Forwarding.FORWARD,
    )
    assert made.timing == Timing()
    assert made.consul.prefix == "haven/"


def test_the_node_is_named_by_its_host_where_it_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "box")
    assert Config.from_environment({}).node == "box"


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().node = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("HAVEN_STORAGE", "etcd", "'etcd' is not one of consul, sqlite, memory"),
        ("HAVEN_SEAL", "none", "not one of shamir, static"),
        ("HAVEN_LISTEN", "8200", "is not HOST:PORT"),
        ("HAVEN_LISTEN", "::1:8200", "needs brackets"),
        ("HAVEN_LISTEN", "a:70000", "is not HOST:PORT"),
        ("HAVEN_API_ADDR", "haven-1", "is not http(s)://HOST[:PORT]"),
        ("HAVEN_API_ADDR", "http://h/path", "is not http(s)://HOST[:PORT]"),
        ("HAVEN_CONSUL_ADDRS", "http://a:8500,a:8500", "different URLs"),
        ("HAVEN_CONSUL_ADDRS", " , ", "different URLs"),
        ("HAVEN_MAX_BODY", "12", "12 is not between 1024 and"),
        ("HAVEN_MAX_BODY", "1e6", "is not a whole number"),
        ("HAVEN_PARKING_SECONDS", "nan", "is not between"),
        ("HAVEN_PARKING_SECONDS", "soon", "is not a number"),
        ("HAVEN_TRUST_PEER_RESETS", "maybe", "is not true or false"),
        ("HAVEN_TRUSTED_PROXIES", "haproxy", "is not an IP address or network"),
        ("HAVEN_SQLITE_PATH", "data.db", "is not an absolute path"),
        ("HAVEN_TLS_CERT_FILE", "/does/not/exist", "cannot be read: No such file"),
        ("HAVEN_LOG_LEVEL", "loud", "not one of debug"),
        ("HAVEN_TRUST_PEER_RESET", "false", "is HAVEN_TRUST_PEER_RESETS meant?"),
    ],
)
def test_a_wrong_value_is_refused_with_name_and_reason(name: str, value: str, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        config(**{name: value})
    assert str(refused.value).startswith(name)
    assert reason in str(refused.value)


def test_unsafe_timing_is_refused_with_the_inequality() -> None:
    with pytest.raises(Invalid, match="margin < check_ttl / 2") as refused:
        config(HAVEN_MARGIN="0.9")
    assert "HAVEN_MARGIN" in str(refused.value)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    assert config(HAVEN_CONSUL_TOKEN_FILE=str(path)).consul.token == "s3cret"
    assert config(HAVEN_CONSUL_TOKEN="direct").consul.token == "direct"


def test_a_secret_given_twice_or_unreadable_is_refused_without_its_value(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="not both") as refused:
        config(HAVEN_CONSUL_TOKEN="s3cret", HAVEN_CONSUL_TOKEN_FILE="/x")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(Invalid, match="HAVEN_CONSUL_TOKEN_FILE: cannot be read"):
        config(HAVEN_CONSUL_TOKEN_FILE=str(tmp_path / "absent"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid, match="UnicodeDecodeError"):
        config(HAVEN_CONSUL_TOKEN_FILE=str(tmp_path / "binary"))


def test_no_secret_shows_in_the_repr() -> None:
    assert "s3cret" not in repr(config(HAVEN_CONSUL_TOKEN="s3cret"))


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(Invalid, match="user or password") as refused:
        config(HAVEN_CONSUL_ADDRS="http://user:s3cret@consul:8500")
    assert "s3cret" not in str(refused.value)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    with pytest.raises(Invalid, match="HAVEN_TLS_KEY_FILE"):
        config(HAVEN_TLS_CERT_FILE=str(tmp_path / "cert"))
    with pytest.raises(Invalid, match="HAVEN_TLS_CLIENT_CA_FILE"):
        config(HAVEN_TLS_CLIENT_CA_FILE=str(tmp_path / "cert"))
    made = config(HAVEN_TLS_CERT_FILE=str(tmp_path / "cert"), HAVEN_TLS_KEY_FILE=str(tmp_path / "key"))
    assert made.http.api_address.startswith("https://")


def test_the_nodes_spread_over_the_consul_agents() -> None:
    agents = ("a", "b", "c")
    assert [spread(agents, f"haven-{number}")[0] for number in (1, 2, 3, 4)] == ["a", "b", "c", "a"]
    assert sorted(spread(agents, "some-host")) == ["a", "b", "c"]
    assert spread(agents, "some-host") == spread(agents, "some-host")
    assert config(HAVEN_CONSUL_ADDRS="c1:8500, c2:8500").consul.addresses == (
        "http://c2:8500",
        "http://c1:8500",
    )


def test_every_variable_is_listed_once_and_explained() -> None:
    names = [variable.name for variable in VARIABLES]
    assert len(set(names)) == len(names)
    assert all(variable.meaning.endswith(".") for variable in VARIABLES)
