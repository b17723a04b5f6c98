"""A node's configuration: read from the environment once, frozen, refused where wrong."""

import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from haven.environment import Environment, Invalid
from haven.ha.timing import Timing, UnsafeTiming

__all__ = ["Config", "Invalid"]


class StorageKind(StrEnum):
    """Where ciphertext is kept."""

    CONSUL = "consul"
    SQLITE = "sqlite"
    MEMORY = "memory"


class SealKind(StrEnum):
    """What opens the barrier."""

    SHAMIR = "shamir"
    STATIC = "static"


class Forwarding(StrEnum):
    """What a standby does with a request for the active node."""

    FORWARD = "forward"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port to listen on or to reach."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TLS:
    """Files of the HTTP API's certificate; `client_ca` None asks no certificate of clients."""

    certificate: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, slots=True)
class HTTP:
    """The HTTP API: `max_body` in bytes, `connections` at once."""

    listen: Address
    api_address: str
    max_body: int
    connections: int
    trusted_proxies: tuple[str, ...]
    tls: TLS | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """The port for other nodes; `trust_resets` takes a refused reconnect for proof of death."""

    name: str
    listen: Address
    address: str
    trust_resets: bool


@dataclass(frozen=True, slots=True)
class Consul:
    """Consul's agents, this node's main one first; `prefix` ends in a slash."""

    addresses: tuple[str, ...]
    token: str = field(repr=False)
    prefix: str
    ca_file: Path | None


@dataclass(frozen=True, slots=True)
class Parking:
    """How long (seconds), how many and how large (bytes in all) requests may wait."""

    seconds: float
    requests: int
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a node; `variables` lists what each comes from."""

    node: str
    http: HTTP
    cluster: Cluster
    metrics: Address
    storage: StorageKind
    sqlite_path: Path
    consul: Consul
    seal: SealKind
    seal_key_file: Path
    forwarding: Forwarding
    parking: Parking
    timing: Timing
    log_level: str
    log_format: str

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "Config":
        """Read the variables; raises `Invalid`, which names the variable."""
        env = Environment(values)
        node = env.text("HAVEN_NODE") or socket.gethostname()
        return cls(
            node=node,
            http=_http(env, node),
            cluster=_cluster(env, node),
            metrics=Address(*env.address("HAVEN_METRICS_LISTEN")),
            storage=StorageKind(env.choice("HAVEN_STORAGE", StorageKind)),
            sqlite_path=env.path("HAVEN_SQLITE_PATH"),
            consul=_consul(env, node),
            seal=SealKind(env.choice("HAVEN_SEAL", SealKind)),
            seal_key_file=env.path("HAVEN_SEAL_KEY_FILE"),
            forwarding=Forwarding(env.choice("HAVEN_FORWARDING", Forwarding)),
            parking=Parking(
                seconds=env.number("HAVEN_PARKING_SECONDS", 0, 300),
                requests=env.integer("HAVEN_PARKING_REQUESTS", 0, 1_000_000),
                body_bytes=env.integer("HAVEN_PARKING_BYTES", 0, 1 << 40),
            ),
            timing=_timing(env),
            log_level=env.choice("HAVEN_LOG_LEVEL", ("debug", "info", "warning", "error")),
            log_format=env.choice("HAVEN_LOG_FORMAT", ("text", "json")),
        )


def _http(env: Environment, node: str) -> HTTP:
    """Read what concerns the HTTP API."""
    tls = _tls(env)
    scheme = "https" if tls else "http"
    listen = Address(*env.address("HAVEN_LISTEN"))
    return HTTP(
        listen=listen,
        api_address=env.url("HAVEN_API_ADDR") or f"{scheme}://{Address(node, listen.port)}",
        max_body=env.integer("HAVEN_MAX_BODY", 1024, 1 << 30),
        connections=env.integer("HAVEN_MAX_CONNECTIONS", 1, 1_000_000),
        trusted_proxies=env.networks("HAVEN_TRUSTED_PROXIES"),
        tls=tls,
    )


def _tls(env: Environment) -> TLS | None:
    """Read the certificate's files: both or neither."""
    certificate, key = env.readable("HAVEN_TLS_CERT_FILE"), env.readable("HAVEN_TLS_KEY_FILE")
    client_ca = env.readable("HAVEN_TLS_CLIENT_CA_FILE")
    if certificate is None and key is None:
        if client_ca is not None:
            raise Invalid("HAVEN_TLS_CLIENT_CA_FILE", "HAVEN_TLS_CERT_FILE is needed with it")
        return None
    if certificate is None or key is None:
        missing = "HAVEN_TLS_KEY_FILE" if key is None else "HAVEN_TLS_CERT_FILE"
        raise Invalid(missing, "a certificate and its key are needed together")
    return TLS(certificate, key, client_ca)


def _cluster(env: Environment, node: str) -> Cluster:
    """Read what concerns the other nodes."""
    listen = Address(*env.address("HAVEN_CLUSTER_LISTEN"))
    given = env.text("HAVEN_CLUSTER_ADDR")
    address = Address(*env.address("HAVEN_CLUSTER_ADDR")) if given else Address(node, listen.port)
    return Cluster(
        name=env.text("HAVEN_CLUSTER_NAME"),
        listen=listen,
        address=str(address),
        trust_resets=env.switch("HAVEN_TRUST_PEER_RESETS"),
    )


def _consul(env: Environment, node: str) -> Consul:
    """Read how to reach Consul."""
    return Consul(
        addresses=spread(env.urls("HAVEN_CONSUL_ADDRS"), node),
        token=env.secret("HAVEN_CONSUL_TOKEN"),
        prefix=env.text("HAVEN_CONSUL_PREFIX").strip("/") + "/",
        ca_file=env.readable("HAVEN_CONSUL_CA_FILE"),
    )


def _timing(env: Environment) -> Timing:
    """Read the protocol's durations; the inequality that they break names the variables."""
    durations = [
        env.number(name, 0, 60)
        for name in ("HAVEN_CHECK_TTL", "HAVEN_MARGIN", "HAVEN_BEAT", "HAVEN_CALL_DEADLINE")
    ]
    try:
        return Timing(*durations)
    except UnsafeTiming as unsafe:
        raise Invalid(
            "HAVEN_CHECK_TTL, HAVEN_MARGIN, HAVEN_BEAT, HAVEN_CALL_DEADLINE", str(unsafe)
        ) from unsafe


def spread(addresses: tuple[str, ...], node: str) -> tuple[str, ...]:
    """Rotate the list by the node's name, so that the nodes' main agents differ.

    The number at the end of the name counts (`haven-2`); a name without one is hashed.
    """
    digits = node[len(node.rstrip("0123456789")) :]
    number = int(digits) - 1 if digits else zlib.crc32(node.encode())
    first = number % len(addresses)
    return addresses[first:] + addresses[:first]
