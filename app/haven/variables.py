"""The environment variables of a node: names, defaults, meanings, in one place.

`docs/operations.md` shows this list. A secret one may also be given as `<NAME>_FILE`, a path to read it from.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable; `default` "" means that the meaning tells what holds without it."""

    name: str
    default: str
    meaning: str
    secret: bool = False


VARIABLES = (
    Variable("HAVEN_NODE", "", "Name of this node, unique in the cluster. Default: the host name."),
    Variable("HAVEN_CLUSTER_NAME", "haven", "Name of the cluster, shown in status."),
    Variable("HAVEN_LISTEN", "0.0.0.0:8200", "Address of the HTTP API."),
    Variable("HAVEN_API_ADDR", "", "URL under which clients reach this node. Default: http://NODE:8200."),
    Variable("HAVEN_CLUSTER_LISTEN", "0.0.0.0:8201", "Address for the other nodes: liveness and forwarding."),
    Variable(
        "HAVEN_CLUSTER_ADDR", "", "HOST:PORT under which the other nodes reach this one. Default: NODE:8201."
    ),
    Variable("HAVEN_METRICS_LISTEN", "0.0.0.0:9102", "Address of /metrics; it needs no token."),
    Variable("HAVEN_STORAGE", "consul", "consul (highly available), sqlite or memory (one node alone)."),
    Variable("HAVEN_SQLITE_PATH", "/haven/data/haven.db", "File of the sqlite storage."),
    Variable("HAVEN_CONSUL_ADDRS", "http://127.0.0.1:8500", "URLs of Consul agents, separated by commas."),
    Variable("HAVEN_CONSUL_TOKEN", "", "Consul ACL token. Default: none.", secret=True),
    Variable(
        "HAVEN_CONSUL_PREFIX", "haven/", "Folder of Consul's key-value store that belongs to this cluster."
    ),
    Variable("HAVEN_CONSUL_CA_FILE", "", "Certificates that vouch for Consul. Default: the system's."),
    Variable("HAVEN_SEAL", "shamir", "shamir (key shares by hand) or static (a key file, unattended)."),
    Variable("HAVEN_SEAL_KEY_FILE", "/haven/seal/key", "File of the static seal's key, 32 bytes."),
    Variable("HAVEN_TLS_CERT_FILE", "", "Certificate chain of the HTTP API. Default: no TLS."),
    Variable("HAVEN_TLS_KEY_FILE", "", "Private key of that certificate."),
    Variable(
        "HAVEN_TLS_CLIENT_CA_FILE", "", "Certificates that vouch for clients. Default: none are asked for."
    ),
    Variable(
        "HAVEN_FORWARDING", "forward", "What a standby does with a request: forward, or redirect (307)."
    ),
    Variable(
        "HAVEN_PARKING_SECONDS", "10", "How long a request waits for an active node before it gets 503."
    ),
    Variable("HAVEN_PARKING_REQUESTS", "2000", "How many requests may wait at once."),
    Variable("HAVEN_PARKING_BYTES", "67108864", "How many bytes of bodies may wait at once."),
    Variable("HAVEN_MAX_BODY", "33554432", "Largest request body in bytes; a larger one gets 413."),
    Variable("HAVEN_MAX_CONNECTIONS", "4000", "Connections at once; one more gets 503 and is closed."),
    Variable(
        "HAVEN_TRUSTED_PROXIES", "127.0.0.1,::1", "Addresses or networks whose X-Forwarded-* headers count."
    ),
    Variable(
        "HAVEN_TRUST_PEER_RESETS",
        "true",
        "Take a peer's closed connection and refused reconnect as proof of its death. "
        "false where a TCP proxy or a firewall that sends resets stands between nodes.",
    ),
    Variable("HAVEN_CHECK_TTL", "1.5", "Seconds that Consul keeps a session alive after a pass."),
    Variable("HAVEN_MARGIN", "0.3", "Seconds by which the holder stops answering before that."),
    Variable("HAVEN_BEAT", "0.3", "Seconds between two passes."),
    Variable(
        "HAVEN_CALL_DEADLINE", "0.4", "Seconds that one Consul call may take before the session is in doubt."
    ),
    Variable("HAVEN_NODES", "", "Only for `haven status`: the nodes to ask. Default: this one."),
    Variable("HAVEN_LOG_LEVEL", "info", "debug, info, warning or error."),
    Variable("HAVEN_LOG_FORMAT", "text", "text (key=value) or json; one line per record."),
)
