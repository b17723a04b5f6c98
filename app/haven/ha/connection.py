"""Connecting two nodes: a TCP connection, and the handshake over it."""

import asyncio
import socket
from dataclasses import dataclass, field

from haven.ha.frames import CHUNK
from haven.ha.handshake import LIMIT, Dialler, HandshakeFailed, Identity, Listener, SessionKeys

BUFFER = 2 * CHUNK
"""How much may wait in this process's and in the kernel's buffers before a ping that comes after it."""
GIVE_UP = 30_000
"""Milliseconds without acknowledgement after which the kernel ends a connection (`TCP_USER_TIMEOUT`)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection whose other side has proved who it is."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: Identity
    keys: SessionKeys = field(repr=False)


async def open_as_dialler(host: str, port: int, dialler: Dialler, run: str | None) -> Connection:
    """Connect and prove each other; with `run` hang up on any other run, unproven.

    The caller looks at `peer`, and sets a deadline. Raises `OSError` and `HandshakeFailed`.
    """
    reader, writer = await asyncio.open_connection(host, port, limit=BUFFER)
    try:
        _tune(writer)
        await _say(writer, dialler.hello())
        peer, proof, keys = dialler.answer(await _hear(reader))
        if run in {None, peer.run}:
            await _say(writer, proof)
        else:
            writer.close()
    except BaseException:
        writer.transport.abort()
        raise
    return Connection(reader, writer, peer, keys)


async def open_as_listener(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener: Listener
) -> Connection:
    """Prove each other over an accepted connection; the caller sets a deadline and closes it on errors."""
    _tune(writer)
    await _say(writer, listener.challenge(await _hear(reader)))
    peer, keys = listener.accept(await _hear(reader))
    return Connection(reader, writer, peer, keys)


def _tune(writer: asyncio.StreamWriter) -> None:
    writer.transport.set_write_buffer_limits(high=BUFFER)
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, BUFFER)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GIVE_UP)


async def _say(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(len(message).to_bytes(2, "big") + message)
    await writer.drain()


async def _hear(reader: asyncio.StreamReader) -> bytes:
    try:
        length = int.from_bytes(await reader.readexactly(2), "big")
        if length > LIMIT:
            raise HandshakeFailed("message of a wrong size")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise HandshakeFailed("connection ended during the handshake") from error
