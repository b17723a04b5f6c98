"""What nodes tell each other of the lock, without Consul."""

import struct
from dataclasses import dataclass

import orjson

from haven.ha.frames import FrameError
from haven.ha.membership import InUse
from haven.ha.record import LockRecord

_TERM = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class HolderNote:
    """Who holds the lock, and in which term (0: not known): a hint for forwarding, never authority."""

    record: LockRecord
    term: int

    def to_bytes(self) -> bytes:
        """Return the payload of a `HOLDER` frame."""
        return _TERM.pack(self.term) + self.record.to_bytes()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "HolderNote":
        """Return the note; raises `FrameError`."""
        record = LockRecord.from_bytes(raw[_TERM.size :])
        if record is None:
            raise FrameError("holder cannot be read")
        return cls(record, _TERM.unpack_from(raw)[0])


def pack_keys(keys: InUse) -> bytes:
    """Return the payload of an `IN_USE` frame."""
    return orjson.dumps(keys)


def read_keys(raw: bytes) -> InUse:
    """Return the keys of an `IN_USE` frame; raises `FrameError`."""
    try:
        existing, absent = orjson.loads(raw)
        if not all(isinstance(key, str) for key in existing + absent):
            raise TypeError("a key is no text")
    except (ValueError, TypeError) as error:
        raise FrameError("keys cannot be read") from error
    return existing, absent


def speaks_for(word: str, run: str) -> bool:
    """Tell whether a resignation's word, `run/generation`, is this run's own."""
    speaker, _, generation = word.rpartition("/")
    return speaker == run and generation.isdecimal()
