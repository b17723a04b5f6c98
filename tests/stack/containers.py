"""The containers of one Compose project: stop, hang, cut off and starve them by their service's name."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence

COMMAND_SECONDS = 120
FREEZES = 5
EVERYBODY = "0.0.0.0/0"


class CommandFailed(AssertionError):
    """A command that the harness relies on ended with an error."""


class Containers:
    """What the harness does to containers; every method blocks until Docker has done it."""

    def __init__(self, project: str) -> None:
        self.project = project

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the Docker client and return what it printed."""
        return run(("docker", *arguments), check=check)

    def id(self, service: str) -> str:
        """Return the id of the service's container, "" where there is none."""
        labels = (
            f"label=com.docker.compose.project={self.project}",
            f"label=com.docker.compose.service={service}",
            "label=com.docker.compose.oneoff=False",
        )
        filters = [argument for label in labels for argument in ("--filter", label)]
        return self.docker("ps", "--all", "--quiet", "--no-trunc", *filters).strip().split("\n")[0]

    def pid(self, service: str) -> int:
        """Return the process id, on this host, of the container's first process; 0 if it does not run."""
        return int(self.docker("inspect", "--format", "{{.State.Pid}}", self.id(service)))

    def names(self, *, running: bool) -> set[str]:
        """Return the services that have a container, or those whose container runs."""
        every = () if running else ("--all",)
        shown = self.docker(
            "ps",
            *every,
            "--filter",
            f"label=com.docker.compose.project={self.project}",
            "--format",
            '{{.Label "com.docker.compose.service"}}',
        )
        return set(shown.split())

    # Life --------------------------------------------------------------------------------------

    def kill(self, service: str, signal_name: str = "KILL") -> None:
        """Signal the container by Docker; after SIGKILL it stays down until `start`."""
        self.docker("kill", "--signal", signal_name, self.id(service))

    def crash(self, service: str) -> None:
        """Kill the container's processes behind Docker's back, so that its restart policy brings it back."""
        pid = self.pid(service)
        if not pid:  # 0 would be everything that this very process started
            raise CommandFailed(f"{service} does not run, so it cannot crash")
        os.kill(pid, signal.SIGKILL)

    def stop(self, service: str) -> None:
        self.docker("stop", self.id(service))

    def start(self, service: str) -> None:
        self.docker("start", self.id(service))

    def restart(self, service: str) -> None:
        self.docker("restart", self.id(service))

    def pause(self, service: str) -> None:
        """Freeze the container; on a busy machine the kernel may need to be asked again."""
        for _ in range(FREEZES):
            self.docker("pause", self.id(service), check=False)
            if self.docker("inspect", "--format", "{{.State.Paused}}", self.id(service)).strip() == "true":
                return
        raise CommandFailed(f"{service} cannot be paused")

    def unpause(self, service: str) -> None:
        self.docker("unpause", self.id(service))

    def execute(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in the container and return what it printed."""
        return self.docker("exec", self.id(service), *command, check=check)

    def limit(self, service: str, *, cpus: float | None = None, memory: str = "") -> None:
        """Change how much processor time or memory the container may take."""
        given = ["--cpus", str(cpus)] if cpus else []
        given += ["--memory", memory, "--memory-swap", memory] if memory else []
        self.docker("update", *given, self.id(service))

    def logs(self, service: str, lines: str = "all") -> str:
        """Return the last lines, or all, that the container wrote."""
        return run(("docker", "logs", "--tail", lines, self.id(service)), check=False, both=True)

    def worker(self, service: str) -> int:
        """Return the process id, on this host, of the child of gunicorn's master in a node."""
        shown = self.docker("top", self.id(service), "-eo", "pid,ppid,args")
        lines = [line.split() for line in shown.splitlines() if line.endswith("haven server")]
        parents = {int(process): int(parent) for process, parent, command, *_ in lines if "python" in command}
        workers = [process for process, parent in parents.items() if parent in parents]
        if len(workers) != 1:
            raise CommandFailed(f"{service} has {len(workers)} serving processes:\n{shown}")
        return workers[0]

    # Network -----------------------------------------------------------------------------------

    def address(self, service: str, network: str) -> str:
        """Return the container's address in one of the project's networks, "" if it is not in it."""
        shown = self.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", self.id(service))
        return str(json.loads(shown).get(f"{self.project}_{network}", {}).get("IPAddress", ""))

    def disconnect(self, service: str, network: str) -> None:
        """Unplug the container; its connections there neither end nor go on."""
        self.docker("network", "disconnect", f"{self.project}_{network}", self.id(service))

    def connect(self, service: str, network: str, address: str) -> None:
        """Plug the container in again under its old address."""
        self.docker("network", "connect", "--ip", address, f"{self.project}_{network}", self.id(service))

    def drop(
        self, service: str, peer: str = EVERYBODY, *, ways: Sequence[str] = ("in", "out"), share: float = 1.0
    ) -> None:
        """Let a share of the packets from and to an address vanish, silently, seen from the container."""
        chance = [] if share >= 1 else ["-m", "statistic", "--mode", "random", "--probability", str(share)]
        for way in ways:
            chain, side = ("INPUT", "-s") if way == "in" else ("OUTPUT", "-d")
            self.iptables(service, "-A", chain, side, peer, *chance, "-j", "DROP")

    def heal(self, service: str) -> None:
        """Let all packets through again."""
        self.iptables(service, "-F")

    def iptables(self, service: str, *arguments: str) -> None:
        """Run this host's iptables in the container's network; the container itself needs no right."""
        pid = self.pid(service)
        if pid:  # a container that has gone took its rules with it
            run(("nsenter", "-t", str(pid), "-n", "iptables", "-w", *arguments))


def run(command: Sequence[str], *, check: bool = True, both: bool = False) -> str:
    """Run a command and return its output, with that for errors too if `both`."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if check and done.returncode:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout + done.stderr if both else done.stdout
