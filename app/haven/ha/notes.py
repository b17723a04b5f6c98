"""What nodes tell each other of the lock, without Consul."""

import struct
from dataclasses import dataclass

import orjson

from haven.ha.frames import FrameError
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


def pack_keys(keys: list[str]) -> bytes:
    """Return the payload of an `IN_USE` frame."""
    return orjson.dumps(keys)


def read_keys(raw: bytes) -> list[str]:
    """Return the keys of an `IN_USE` frame; raises `FrameError`."""
    try:
        keys = orjson.loads(raw)
    except ValueError as error:
        raise FrameError("keys cannot be read") from error
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FrameError("keys cannot be read")
    return keys


def speaks_for(word: str, run: str) -> bool:
    """Tell whether a resignation's word, `run/generation`, is this run's own."""
    speaker, _, generation = word.rpartition("/")
    return speaker == run and generation.isdecimal()
