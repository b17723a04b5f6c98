"""The cluster to compare with: three OpenBao raft nodes behind Haven's own HAProxy."""

import asyncio
import json
import os
from pathlib import Path

from bench.cluster import ROOT, Cluster, ClusterError, order, until
from bench.http import Target, ask

STATE = ROOT / ".cache" / "bench" / "openbao" / "init.json"
PROJECT = os.environ.get("BENCH_OPENBAO_PROJECT", "haven-openbao")


async def prepare(state: Path = STATE) -> Cluster:
    """Initialise a cluster that has just started, give it KV version 2 at `secret/`, and return it."""
    cluster = await _find(state)
    first = cluster.nodes[0].target

    async def answers() -> bool:
        return (await ask(first, "GET", "sys/health")).status in {200, 429, 501}

    await until(answers, "the first OpenBao node answers")
    if (await ask(first, "GET", "sys/health")).status == 501:
        answer = await ask(
            first, "PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}, seconds=60
        )
        if answer.status != 200:
            raise ClusterError(f"OpenBao cannot be initialised: {answer.status} {answer.body.decode()}")
        _keep_token(state, answer.json()["root_token"])
        cluster = await _find(state)
        await cluster.whole()
        mount = {"type": "kv", "options": {"version": "2"}}
        answer = await ask(cluster.nodes[0].target, "POST", "sys/mounts/secret", mount)
        if answer.status != 204:
            raise ClusterError(f"OpenBao has no KV at secret/: {answer.status} {answer.body.decode()}")
        await asyncio.sleep(1.0)  # the mount turns itself into version 2 in the background
    await cluster.whole()
    return cluster


async def can_lose_one(active: Target) -> bool:
    """Tell whether OpenBao says that it can lose a node. A node that joins has no vote for its first 10 s."""
    answer = await ask(active, "GET", "sys/storage/raft/autopilot/state")
    state = answer.json()["data"] if answer.status == 200 else None
    return bool(state and state["healthy"] and state["failure_tolerance"] > 0)


async def _find(state: Path) -> Cluster:
    return await Cluster.find(PROJECT, "openbao", _known_token(state), can_lose_one)


def _known_token(state: Path) -> str:
    try:
        return str(json.loads(state.read_text())["root_token"])
    except OSError:
        return ""


def _keep_token(state: Path, token: str) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    state.touch(0o600)
    state.write_text(json.dumps({"root_token": token}))


def forget(state: Path = STATE) -> None:
    """Forget the token of a cluster that has been removed."""
    state.unlink(missing_ok=True)


async def start() -> Cluster:
    """Start the nodes and prepare them."""
    await order("scripts/bench-openbao", "up")
    return await prepare()


async def stop() -> None:
    """Remove the nodes with their data."""
    await order("scripts/bench-openbao", "down")
    forget()
