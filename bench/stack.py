"""A Haven stack of the benchmarks' own beside the user's: project, ports and networks are others."""

import os

from bench.cluster import Cluster, haven_token, order

PROJECT = os.environ.get("BENCH_PROJECT", "haven-bench")

ENVIRONMENT = {
    "COMPOSE_PROJECT_NAME": PROJECT,
    "HAVEN_PORT": "18200",
    "HAVEN_NODE_1_PORT": "18211",
    "HAVEN_NODE_2_PORT": "18212",
    "HAVEN_NODE_3_PORT": "18213",
    "HAVEN_STATS_PORT": "18404",
    "HAVEN_PROMETHEUS_PORT": "19090",
    "HAVEN_GRAFANA_PORT": "13000",
    "HAVEN_STORAGE_PREFIX": "10.89.63",
    "HAVEN_CLUSTER_PREFIX": "10.89.64",
    **{name: value for name, value in os.environ.items() if name.startswith("HAVEN_IMAGE_")},
}


async def find() -> Cluster:
    """Return the cluster, which runs."""
    return await Cluster.find(PROJECT, "haven", haven_token(PROJECT))


async def start() -> Cluster:
    """Start the stack, and with it whatever of it has stopped."""
    await order("scripts/up", environment=ENVIRONMENT)
    return await find()


async def stop() -> None:
    """Remove the stack with its data."""
    await order("scripts/compose", "--ansi", "never", "down", "--volumes", environment=ENVIRONMENT)
