"""What counts as the death of a followed run, and what does not, over real connections."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from link_world import BRISK, CLOCK, KEY, PATIENT, Told, follower_of, get, holder_of, identity, record, until

from haven.errors import OutcomeUnknown
from haven.ha.connection import open_as_listener
from haven.ha.frames import Frame
from haven.ha.handshake import HandshakeFailed, Listener
from haven.ha.link import Link

PROCESS = """
import asyncio, sys
from link_world import holder_of
async def main():
    async with holder_of("one") as one:
        print(one.hub.port, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def holder_process() -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A holder in a process of its own, to be killed and stopped as processes are."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, stdout=asyncio.subprocess.PIPE, env=environment
    )
    try:
        assert process.stdout
        async with asyncio.timeout(60):
            yield process, int(await process.stdout.readline())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Scripted:
    """A peer that a test plays: it answers a handshake, or hangs, and can be gone."""

    def __init__(self) -> None:
        self.dials = 0
        self.meeting = 0
        self.hang = False
        self.run: str | None = None
        self.node = "one"
        self.links: list[Link] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[object]] = []
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def met(self) -> Link:
        """Return the link, once it is the only one that stands and nobody is in the handshake."""

        def standing() -> list[Link]:
            return [link for link in self.links if link.end is None]

        await until(lambda: self.meeting == 0 and len(standing()) == 1)
        return standing()[0]

    def refuse(self) -> None:
        self._server.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers = []

    def received(self, link: Link, frame: Frame) -> None:
        pass

    def silence(self, link: Link, silent: bool) -> None:
        pass

    async def stop(self) -> None:
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dials += 1
        self._writers.append(writer)
        if self.hang:
            return
        listener = Listener(KEY, identity(self.node, run=self.run or f"run-{self.node}"))
        self.meeting += 1
        try:
            connection = await open_as_listener(reader, writer, listener)
        except (OSError, HandshakeFailed):
            writer.transport.abort()
            return
        finally:
            self.meeting -= 1
        link = Link(connection, CLOCK, PATIENT, self)
        self.links.append(link)
        self._tasks.append(asyncio.create_task(link.run()))


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    peer = Scripted()
    await peer.start()
    try:
        yield peer
    finally:
        await peer.stop()


async def test_killed_process_is_dead() -> None:
    told = Told()
    async with holder_process() as (process, port), follower_of("two", told) as two:
        two.follow(record("one", port))
        await until(lambda: two.responsive)
        assert (await two.forward(get())).status == 200
        process.send_signal(signal.SIGKILL)
        await until(lambda: told.deaths == ["run-one"])
        assert not two.responsive


async def test_stopped_process_is_silent_and_not_dead_until_it_is_killed() -> None:
    told = Told()
    async with holder_process() as (process, port), follower_of("two", told, BRISK) as two:
        two.follow(record("one", port))
        await until(lambda: two.responsive)
        process.send_signal(signal.SIGSTOP)
        await until(lambda: not two.responsive)
        assert told.deaths == []
        process.send_signal(signal.SIGKILL)
        await until(lambda: told.deaths == ["run-one"])


async def test_stopped_process_that_goes_on_is_responsive_again() -> None:
    told = Told()
    async with holder_process() as (process, port), follower_of("two", told, BRISK) as two:
        two.follow(record("one", port))
        await until(lambda: two.responsive)
        process.send_signal(signal.SIGSTOP)
        await until(lambda: not two.responsive)
        process.send_signal(signal.SIGCONT)
        await until(lambda: two.responsive)
        assert told.deaths == []


async def test_death_is_reported_once() -> None:
    told = Told()
    async with holder_of("one") as one, follower_of("two", told) as two:
        port = one.hub.port
        two.follow(record("one", port))
        await until(lambda: two.responsive)
        await one.kill()
        await until(lambda: bool(told.deaths))
        changes = told.changes
        two.follow(record("one", port, session="other"))
        two.follow(None)
        await until(lambda: told.changes > changes and not two._predecessors)
        assert told.deaths == ["run-one"]


async def test_process_restarted_at_the_same_address_shows_the_death_of_the_one_before() -> None:
    told = Told()
    async with scripted() as peer, follower_of("two", told) as two:
        two.follow(record("one", peer.port))
        await until(lambda: two.responsive)
        await peer.met()
        links = len(peer.links)
        peer.run = "run-after"
        peer.cut()
        await until(lambda: told.deaths == ["run-one"])
        assert len(peer.links) == links


async def test_other_node_at_the_address_is_no_evidence() -> None:
    told = Told()
    async with scripted() as peer, follower_of("two", told) as two:
        two.follow(record("one", peer.port))
        await until(lambda: two.responsive)
        await peer.met()
        peer.node = "three"
        peer.cut()
        dials = peer.dials
        await until(lambda: peer.dials > dials + 3)
        assert told.deaths == []
        peer.node = "one"
        await until(lambda: two.responsive)


async def test_what_another_host_of_the_same_name_says_is_no_evidence() -> None:
    told = Told()
    soon = replace(PATIENT, handshake=0.5)
    async with scripted() as peer, scripted() as elsewhere, follower_of("two", told, soon) as two:
        two.follow(record("one", peer.port))
        await until(lambda: two.responsive)
        elsewhere.run = "run-after"
        assert two._current
        two._current._address = ("127.0.0.1", elsewhere.port)
        link = await peer.met()
        peer.hang = True
        link.close()
        await until(lambda: elsewhere.dials > 0)
        elsewhere.refuse()
        tries = two._current._tries
        await until(lambda: two._current is not None and two._current._tries > tries + 4)
        assert told.deaths == []
        peer.refuse()
        await until(lambda: told.deaths == ["run-one"])


async def test_reset_of_a_living_holder_is_no_death() -> None:
    told = Told()
    async with holder_of("one") as one, follower_of("two", told) as two:
        two.follow(record("one", one.hub.port))
        for _ in range(5):
            await until(lambda: two.responsive)
            await one.reset_and_forget()
        await until(lambda: two.responsive)
        assert told.deaths == []


async def test_tries_that_hang_do_not_hide_a_death() -> None:
    told = Told()
    async with scripted() as peer, follower_of("two", told) as two:
        two.follow(record("one", peer.port))
        await until(lambda: two.responsive)
        link = await peer.met()
        dials = peer.dials
        peer.hang = True
        link.close()
        await until(lambda: peer.dials >= dials + 2)
        assert told.deaths == []
        peer.refuse()
        await until(lambda: told.deaths == ["run-one"])


async def test_holder_that_was_never_reached_is_not_dead_when_it_refuses() -> None:
    told = Told()
    async with scripted() as peer, follower_of("two", told) as two:
        peer.hang = True
        two.follow(record("one", peer.port))
        await until(lambda: peer.dials > 0)
        peer.refuse()
        peer.cut()
        tries = two._current._tries if two._current else 0
        await until(lambda: two._current is not None and two._current._tries > tries + 4)
        assert told.deaths == []


async def test_goodbye_is_no_death() -> None:
    told = Told()
    async with holder_of("one") as one, follower_of("two", told) as two:
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        await one.hub.close(30.0)
        assert two._current
        tries = two._current._tries
        await until(lambda: two._current is not None and two._current._tries > tries + 4)
        assert told.deaths == []


async def test_end_after_a_goodbye_is_no_death_even_with_a_request_in_flight() -> None:
    told = Told()
    async with holder_of("one") as one, follower_of("two", told) as two:
        one.answer = lambda request: asyncio.get_running_loop().create_future()
        two.follow(record("one", one.hub.port))
        await until(lambda: two.responsive)
        task = asyncio.create_task(two.forward(get(method="PUT")))
        await until(lambda: len(one.asked) == 1)
        await one.hub.close(0.2)
        with pytest.raises(OutcomeUnknown):
            await task
        tries = two._current._tries if two._current else 0
        await until(lambda: two._current is not None and two._current._tries > tries + 4)
        assert told.deaths == []


async def test_node_does_not_follow_itself() -> None:
    async with holder_of("two") as own, follower_of("two") as two:
        two.follow(record("one", own.hub.port))
        await until(lambda: two._current is not None and two._current._tries > 2)
        assert not two.responsive
        assert own.hub._links == {}


async def test_changed_bytes_end_the_link_and_are_no_death(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    async with scripted() as peer, follower_of("two", told) as two:
        two.follow(record("one", peer.port))
        await until(lambda: two.responsive)
        link = await peer.met()
        peer.refuse()
        link._writer.write(b"\0\0\0\x20" + b"x" * 32)
        await until(lambda: not two.responsive)
        tries = two._current._tries if two._current else 0
        await until(lambda: two._current is not None and two._current._tries > tries + 4)
        assert told.deaths == []
        assert "does not open" in caplog.text
