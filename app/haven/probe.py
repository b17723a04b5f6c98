"""The container's health check: does the process answer? Every state of a node is a healthy one.

It must not depend on Consul or on who is active: else an orchestrator would restart all nodes in an outage.
"""

from collections.abc import Mapping

from haven.ask import NoAnswer, ask

STATES = frozenset({200, 429, 472, 473, 501, 503})
"""The statuses of `sys/health`: active, standby, uninitialised, sealed."""
SECONDS = 3.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def probe(environment: Mapping[str, str]) -> tuple[bool, str]:
    """Ask this container's own node; return whether it is healthy, and one line that says why."""
    url = f"{own_address(environment)}/v1/sys/health"
    try:
        # Only liveness is asked, of this host: the certificate names another one.
        answer = ask("GET", url, SECONDS, verify=False)
    except NoAnswer as silence:
        return False, f"no answer from {url}: {silence}"
    if answer.status not in STATES or "sealed" not in answer.json():
        return False, f"unexpected answer from {url}: status {answer.status}"
    return True, f"status {answer.status}"


def own_address(environment: Mapping[str, str]) -> str:
    """Return the URL of this container's node, from the variables that it is configured with."""
    host, _, port = (environment.get("HAVEN_LISTEN") or "0.0.0.0:8200").rpartition(":")
    bare = host.strip("[]")
    reached = EVERYWHERE.get(bare, bare)
    scheme = "https" if environment.get("HAVEN_TLS_CERT_FILE") else "http"
    return f"{scheme}://[{reached}]:{port}" if ":" in reached else f"{scheme}://{reached}:{port}"
