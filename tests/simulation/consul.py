"""A coordination service with Consul's rules, as far as the protocol leans on them."""

from dataclasses import dataclass, field

from haven.ha.record import LockRecord
from haven.ha.takeover import TTL_EXPIRED, CreateLock, ReplaceHolder, TakeFree

Condition = CreateLock | ReplaceHolder | TakeFree


@dataclass
class Consul:
    """One lock, the sessions bound to TTL checks, and one register; times are true times."""

    ttl: float
    index: int = 0
    holder: str = ""
    record: LockRecord | None = None
    locked_index: int = 0
    deadlines: dict[str, float] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    critical: dict[str, str] = field(default_factory=dict)
    register: int = 0

    def register_session(self, session: str, now: float) -> None:
        self.alive.add(session)
        self.deadlines[session] = now + self.ttl

    def pass_check(self, session: str, now: float) -> None:
        """Pass the check; the session lives on only if nothing has ended it."""
        if session in self.alive:
            self.deadlines[session] = now + self.ttl

    def expire(self, now: float) -> None:
        for session in [s for s in self.alive if self.deadlines[s] <= now]:
            self.critical[session] = TTL_EXPIRED
            self.destroy(session)

    def destroy(self, session: str) -> None:
        self.alive.discard(session)
        if self.holder == session:
            self.holder = ""
            self._touch()

    def move(self, condition: Condition, record: LockRecord) -> int | None:
        """Apply a lock transaction; the term, or None where it is refused."""
        match condition:
            case CreateLock():
                met = self.locked_index == 0
            case ReplaceHolder(old):
                met = self.holder == old
            case TakeFree(index):
                met = self.locked_index == index and not self.holder
        if not met or record.session not in self.alive:
            return None
        self.holder, self.record = record.session, record
        self._touch()
        return self.locked_index

    def leave(self, old: str, record: LockRecord) -> int | None:
        """Apply a hand-over or a release; the index, or None where it is refused."""
        if self.holder != old or not (record.released or record.session in self.alive):
            return None
        self.holder, self.record = "" if record.released else record.session, record
        self._touch()
        return self.locked_index

    def write(self, session: str) -> int | None:
        """Apply a fenced write: the register's new version, or None."""
        if self.holder != session:
            return None
        self.register += 1
        return self.register

    def _touch(self) -> None:
        self.index += 1
        self.locked_index = self.index
