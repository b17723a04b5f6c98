"""What travels over an authenticated link: small sealed frames, so that a ping never waits for a big body.

A frame is a kind (1 byte), a flag (1 byte), a number (4 bytes) and a payload. A message is one or
more frames of the same number: the first one's payload is the length of the metadata (4 bytes),
the metadata (JSON) and the beginning of the body; the others carry the rest of the body, raw; the
flag marks the last. Each frame is encrypted with AES-256-GCM under the key of its direction. The
nonce is a counter that is never sent: a frame lost, repeated or out of its place does not open.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from haven.errors import HavenError
from haven.ha.forwarding import RawRequest, RawResponse

CHUNK = 64 * 1024
"""The most bytes of a frame's payload."""
BODY_LIMIT = 32 * 1024 * 1024 + 64 * 1024
"""The most bytes of a message's body: the largest HTTP body and room for what wraps it."""
_HEAD = struct.Struct(">BBI")
_LENGTH = struct.Struct(">I")
LENGTH = _LENGTH.size
TAG = 16
WIRE_LIMIT = _HEAD.size + CHUNK + TAG
"""The most bytes that follow the length of a sealed frame."""


class FrameError(HavenError):
    """The other side breaks the protocol, or somebody changed its bytes: the link must end."""


class MessageTooLarge(HavenError):
    """The message cannot be sent over a link; nothing of it was."""


class Kind(IntEnum):
    """What a frame is about."""

    PING = 1
    CANDIDATE = 2
    """The LockRecord that a follower would take over with, or null."""
    REQUEST = 3
    RESPONSE = 4
    REST = 5
    """More of the body of a REQUEST or RESPONSE."""
    CANCEL = 6
    """The REQUEST of this number will not be completed."""
    RESIGNED = 7
    """The sender will never answer again under any session that it has."""
    HOLDER = 8
    """Who holds the lock now, for a predecessor that may not be able to read it."""
    DONE = 9
    """The RESIGNED or HOLDER of this number was taken note of."""
    GOODBYE = 10
    """The sender begins nothing more that comes over this link; what it began it still answers."""
    IN_USE = 11
    """The keys from which the sender, as the holder, answers: a successor reads them all at once."""


class Outcome(IntEnum):
    """How a forwarded request ended, in a RESPONSE's metadata."""

    ANSWERED = 0
    NOT_EXECUTED = 1
    UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, in the clear."""

    kind: Kind
    number: int = 0
    payload: bytes = field(default=b"", repr=False)
    last: bool = True

    def to_bytes(self) -> bytes:
        """Return the frame's plaintext."""
        return _HEAD.pack(self.kind, self.last, self.number) + self.payload

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Frame":
        """Return the frame; raises `FrameError`."""
        try:
            kind, last, number = _HEAD.unpack_from(raw)
            return cls(Kind(kind), number, raw[_HEAD.size :], bool(last))
        except (struct.error, ValueError) as error:
            raise FrameError("frame cannot be read") from error


class SealingCipher:
    """Encrypts what one side sends, in order."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._count = 0

    def seal(self, frame: Frame) -> bytes:
        """Return the frame as it goes over the wire: its sealed length, and that many bytes."""
        plain = frame.to_bytes()
        length = _LENGTH.pack(len(plain) + TAG)
        sealed = self._cipher.encrypt(_nonce(self._count), plain, length)
        self._count += 1
        return length + sealed


class OpeningCipher:
    """Decrypts what one side receives, in order."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._count = 0

    def open(self, length: bytes, sealed: bytes) -> Frame:
        """Return the frame; raises `FrameError`."""
        try:
            plain = self._cipher.decrypt(_nonce(self._count), sealed, length)
        except InvalidTag as error:
            raise FrameError("frame does not open") from error
        self._count += 1
        return Frame.from_bytes(plain)


def wire_length(raw: bytes) -> int:
    """Return how many bytes follow this length; raises `FrameError`."""
    length: int = _LENGTH.unpack(raw)[0]
    if not _HEAD.size + TAG <= length <= WIRE_LIMIT:
        raise FrameError("frame of a wrong size")
    return length


def _nonce(count: int) -> bytes:
    return count.to_bytes(12, "big")


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message: metadata that JSON can hold, and a body."""

    kind: Kind
    number: int
    meta: dict[str, Any] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


def split(message: Message) -> Iterator[Frame]:
    """Return the frames of a message; raises `MessageTooLarge` at once, not at the first frame."""
    meta = orjson.dumps(message.meta | {"size": len(message.body)})
    start = _LENGTH.size + len(meta)
    if start > CHUNK or len(message.body) > BODY_LIMIT:
        raise MessageTooLarge("message too large to forward")
    return _frames(message, _LENGTH.pack(len(meta)) + meta)


def _frames(message: Message, head: bytes) -> Iterator[Frame]:
    body = memoryview(message.body)
    position = CHUNK - len(head)
    yield Frame(message.kind, message.number, head + body[:position], last=position >= len(body))
    while position < len(body):
        rest = bytes(body[position : position + CHUNK])
        position += CHUNK
        yield Frame(Kind.REST, message.number, rest, last=position >= len(body))


class _Partial:
    """A message of which the end has not come yet."""

    def __init__(self, frame: Frame) -> None:
        try:
            (length,) = _LENGTH.unpack_from(frame.payload)
            self._meta: dict[str, Any] = orjson.loads(frame.payload[_LENGTH.size : _LENGTH.size + length])
            self.size = int(self._meta.pop("size"))
        except (struct.error, ValueError, AttributeError, KeyError, TypeError) as error:
            raise FrameError("metadata cannot be read") from error
        if not 0 <= self.size <= BODY_LIMIT:
            raise FrameError("body of a wrong size")
        self._kind = frame.kind
        self._body = bytearray()
        self._extend(frame.payload[_LENGTH.size + length :])

    def _extend(self, part: bytes) -> None:
        self._body += part
        if len(self._body) > self.size:
            raise FrameError("body longer than announced")

    def take(self, frame: Frame) -> None:
        self._extend(frame.payload)

    def whole(self, number: int) -> Message:
        if len(self._body) != self.size:
            raise FrameError("body shorter than announced")
        return Message(self._kind, number, self._meta, bytes(self._body))


class Assembler:
    """Puts messages together that come in over one link; refuses what would take too much memory.

    `limit_bytes` bounds the bodies of unfinished messages together. A message that does not fit
    is dropped, and `begin` says so: its sender gets told that it was not executed.
    """

    def __init__(self, limit_bytes: int = 2 * BODY_LIMIT) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._partial: dict[int, _Partial] = {}
        self._dropped: set[int] = set()

    def begin(self, frame: Frame) -> Message | bool:
        """Take a message's first frame: return the message if it is whole, else whether it fits."""
        if frame.number in self._partial or frame.number in self._dropped:
            raise FrameError("number used twice")
        partial = _Partial(frame)
        if frame.last:
            return partial.whole(frame.number)
        if self._bytes + partial.size > self._limit:
            self._dropped.add(frame.number)
            return False
        self._partial[frame.number] = partial
        self._bytes += partial.size
        return True

    def go_on(self, frame: Frame) -> Message | None:
        """Take another frame of a message: return the message when it is whole."""
        if frame.number in self._dropped:
            if frame.last:
                self._dropped.discard(frame.number)
            return None
        partial = self._partial.get(frame.number)
        if partial is None:
            raise FrameError("rest of a message that never began")
        partial.take(frame)
        if not frame.last:
            return None
        self.cancel(frame.number)
        return partial.whole(frame.number)

    def cancel(self, number: int) -> None:
        """Forget a message that will not be completed."""
        self._dropped.discard(number)
        partial = self._partial.pop(number, None)
        self._bytes -= partial.size if partial else 0


def request_message(number: int, request: RawRequest) -> Message:
    """Return the message of a request."""
    meta = {"method": request.method, "target": request.target, "headers": dict(request.headers)}
    return Message(Kind.REQUEST, number, meta, request.body)


def read_request(message: Message) -> RawRequest:
    """Return the request of a message; raises `FrameError`."""
    meta = message.meta
    try:
        return RawRequest(str(meta["method"]), str(meta["target"]), dict(meta["headers"]), message.body)
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError("request cannot be read") from error


def response_message(number: int, outcome: Outcome, response: RawResponse | None = None) -> Message:
    """Return the message of an answer, or of its absence."""
    if response is None:
        return Message(Kind.RESPONSE, number, {"outcome": outcome})
    meta = {"outcome": outcome, "status": response.status, "headers": dict(response.headers)}
    return Message(Kind.RESPONSE, number, meta, response.body)


def read_response(message: Message) -> RawResponse | Outcome:
    """Return the answer of a message, or why there is none; raises `FrameError`."""
    meta = message.meta
    try:
        outcome = Outcome(meta["outcome"])
        if outcome is not Outcome.ANSWERED:
            return outcome
        return RawResponse(int(meta["status"]), dict(meta["headers"]), message.body)
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError("response cannot be read") from error
