"""Play one fault on the running stack while clients work, and record all that was seen."""

import asyncio
import os
import random
import time

from chaos.faults import HAPROXY, Fault, Scene
from chaos.judgement import Recording, Result, judge
from chaos.watch import Watch
from chaos.workload import Workload
from stack.running import NODES, Stack

WARM_SECONDS = 1.0


async def conduct(stack: Stack, fault: Fault, seed: int, *, clients: int = 10) -> Result:
    """Warm up, let the fault happen and heal, wait until all is well again without a hand, and judge."""
    active = await asyncio.to_thread(stack.settle)
    scene = Scene(stack, random.Random(f"{fault.name}/{seed}"), active)
    entrances = {HAPROXY: stack.url} | {node: stack.node_url(node) for node in NODES}
    watch = Watch({node: stack.metrics_url(node) for node in NODES})
    workload = Workload(entrances, stack.token, seed, clients=clients)
    load = os.getloadavg()[0]
    start = time.monotonic()
    async with watch, workload:
        await asyncio.sleep(WARM_SECONDS)
        began = time.monotonic()
        await asyncio.to_thread(fault.act, scene)
        after = await asyncio.to_thread(stack.settle)
        scene.mark("all is well")
        await asyncio.sleep(WARM_SECONDS)
    return judge(
        Recording(
            fault=fault,
            seed=seed,
            scene=scene,
            start=start,
            began=began,
            after=after,
            history=workload.history,
            samples=watch.samples,
            load=max(load, os.getloadavg()[0]),
        )
    )
