"""The faults: what each does to the active node or to Consul, and how the damage is mended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.cluster import Cluster, ClusterError, Node
from bench.docker import docker
from bench.http import ask

LOCK = "kv/haven/core/lock"
MOVES = 8
"""How often the lock is moved on at most until the active node's own Consul server does not lead."""


@dataclass(frozen=True)
class Victim:
    """Whom a fault is for: the container `name`, while `active` is the active node."""

    active: Node
    name: str
    container: str


Aim = Callable[[Cluster, Node], Awaitable[Victim]]
Act = Callable[[Cluster, Victim], Awaitable[None]]


async def the_active(cluster: Cluster, active: Node) -> Victim:
    """Aim at the active node."""
    return Victim(active, active.name, active.container)


@dataclass(frozen=True)
class Fault:
    """One fault. `budget`: the longest pause allowed, in seconds; None where Consul's election decides."""

    name: str
    title: str
    command: str  # what a person would type; {} stands for the victim
    budget: float | None
    inflict: Act
    mend: Act | None = None
    aim: Aim = the_active
    action: str = ""  # Docker's event that says that it was carried out
    hold: float = 0.0  # for how long it lasts at least, in seconds
    loses_writes: bool = False  # writes in flight may stay unknown
    kinds: tuple[str, ...] = ("haven", "openbao")

    @property
    def inflicted_on_consul(self) -> bool:
        """Tell whether it hits a Consul server: then the active node must stay the same."""
        return self.name.startswith("consul-")


def _docker(*arguments: str) -> Act:
    async def act(cluster: Cluster, victim: Victim) -> None:
        await docker(*arguments, victim.container)

    return act


def _order(path: str) -> Act:
    async def act(cluster: Cluster, victim: Victim) -> None:
        answer = await ask(victim.active.target, "PUT", path)
        if answer.status not in {200, 204}:
            raise ClusterError(f"{path} at {victim.name} answered {answer.failure or answer.status}")

    return act


async def _disconnect(cluster: Cluster, victim: Victim) -> None:
    await docker("network", "disconnect", cluster.storage_network, victim.container)


async def _reconnect(cluster: Cluster, victim: Victim) -> None:
    address = cluster.storage_addresses[victim.name]
    await docker("network", "connect", "--ip", address, cluster.storage_network, victim.container)


async def consul_leader(cluster: Cluster) -> str:
    """Return the name of the Consul server that leads; raises `ClusterError`."""
    for server in cluster.servers.values():
        answer = await ask(server, "GET", "status/leader", seconds=2.0)
        if answer.status == 200 and answer.json():
            leader = str(answer.json()).partition(":")[0]
            return next(name for name, target in cluster.servers.items() if target.host == leader)
    raise ClusterError("no Consul server knows a leader")


async def own_server(cluster: Cluster) -> str:
    """Return the name of the Consul server whose agent the lock's session hangs on; raises `ClusterError`."""
    server = next(iter(cluster.servers.values()))
    lock = (await ask(server, "GET", LOCK)).json()
    session = lock[0].get("Session") if lock else None
    if not session:
        raise ClusterError("nobody holds the lock")
    return str((await ask(server, "GET", f"session/info/{session}")).json()[0]["Node"])


def _server(cluster: Cluster, active: Node, name: str) -> Victim:
    return Victim(active, name, cluster.containers[name])


async def the_leader(cluster: Cluster, active: Node) -> Victim:
    """Aim at the Consul server that leads."""
    return _server(cluster, active, await consul_leader(cluster))


async def the_follower(cluster: Cluster, active: Node) -> Victim:
    """Aim at a Consul server that does not lead; preferably not at the lock's own."""
    leader, own = await consul_leader(cluster), await own_server(cluster)
    names = [name for name in sorted(cluster.servers) if name != leader]
    return _server(cluster, active, next((name for name in names if name != own), names[0]))


async def the_own_server(cluster: Cluster, active: Node) -> Victim:
    """Aim at the lock's own server; let the lock move on until that one does not lead."""
    for _ in range(MOVES):
        own = await own_server(cluster)
        if own != await consul_leader(cluster):
            return _server(cluster, active, own)
        await ask(active.target, "PUT", "sys/step-down")
        active = await cluster.whole()
    raise ClusterError("the Consul server of every active node leads")


START, RESTART = _docker("start"), _docker("restart")

FAULTS = (
    Fault(
        "kill",
        "SIGKILL: the process ends at once",
        "docker kill {}",
        0.1,
        _docker("kill"),
        START,
        action="kill",
        loses_writes=True,
    ),
    Fault(
        "step-down",
        "step-down: an operator moves the lock on",
        "bao operator step-down",
        0.05,
        _order("sys/step-down"),
    ),
    Fault(
        "sigterm",
        "SIGTERM: the container is stopped in order",
        "docker stop {}",
        0.05,
        _docker("stop"),
        START,
        action="kill",
    ),
    Fault(
        "sigstop",
        "SIGSTOP: the process hangs",
        "docker pause {}",
        2.0,
        _docker("pause"),
        _docker("unpause"),
        action="pause",
        hold=5.0,
        loses_writes=True,
    ),
    Fault("seal", "seal: an operator locks the node", "bao operator seal", 0.05, _order("sys/seal"), RESTART),
    Fault(
        "cut-off",
        "cut off from its storage",
        "docker network disconnect ..._storage {}",
        2.0,
        _disconnect,
        _reconnect,
        action="disconnect",
        hold=5.0,
        loses_writes=True,
    ),
    Fault(
        "consul-follower",
        "a Consul follower is killed",
        "docker kill {}",
        0.1,
        _docker("kill"),
        START,
        the_follower,
        action="kill",
        hold=8.0,
        kinds=("haven",),
    ),
    Fault(
        "consul-own",
        "the active node's own Consul server is killed (a follower)",
        "docker kill {}",
        0.1,
        _docker("kill"),
        START,
        the_own_server,
        action="kill",
        hold=8.0,
        kinds=("haven",),
    ),
    Fault(
        "consul-leader",
        "the Consul leader is killed",
        "docker kill {}",
        None,
        _docker("kill"),
        START,
        the_leader,
        action="kill",
        hold=8.0,
        kinds=("haven",),
    ),
)
"""The first five are what `make demo` shows."""
