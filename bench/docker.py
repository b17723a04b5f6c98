"""The Docker command line, without blocking the probes."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any


class DockerError(Exception):
    """A docker command failed; the text is what it printed."""


async def docker(*arguments: str, seconds: float = 120.0) -> str:
    """Run a docker command and return what it printed; raises `DockerError`."""
    return (await _run("docker", *arguments, seconds=seconds))[0]


async def logs(container: str, since: float) -> list[str]:
    """Return the lines that a container has logged since a time (seconds since the epoch)."""
    out, err = await _run("docker", "logs", "--since", f"{since:.6f}", container, seconds=60)
    return [*out.splitlines(), *err.splitlines()]


async def _run(*command: str, seconds: float) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise DockerError(f"no end after {seconds:.0f} s: {' '.join(command)}") from None
    if process.returncode:
        raise DockerError(err.decode().strip() or f"{' '.join(command)} ended with {process.returncode}")
    return out.decode(), err.decode()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that Docker did, and when (seconds since the epoch)."""

    time: float
    action: str
    container: str


async def events(since: float, until: float) -> list[Event]:
    """Return what Docker did to containers and their networks between two times."""
    text = await docker(
        "events", "--since", f"{since:.6f}", "--until", f"{until:.6f}", "--format", "{{json .}}"
    )
    found = []
    for line in text.splitlines():
        event = json.loads(line)
        attributes = event["Actor"].get("Attributes", {})
        # A network's events name the container in an attribute.
        container = attributes.get("container") or event["Actor"]["ID"]
        found.append(Event(event["timeNano"] / 1e9, event["Action"], container))
    return found


async def containers(project: str) -> dict[str, Any]:
    """Return what `docker inspect` tells of a project's containers, by the names of their services."""
    ids = (
        await docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project}")
    ).split()
    if not ids:
        return {}
    return {
        one["Config"]["Labels"]["com.docker.compose.service"]: one
        for one in json.loads(await docker("inspect", *ids))
    }
