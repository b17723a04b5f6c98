"""First start, unattended: the static seal's key file, and initialising exactly once.

Both steps may be repeated, interrupted, and run twice at the same time. The keys are written to a file that
only its owner can read, and nowhere else. One gap is left: an answer that is lost on its way takes the keys
with it. Then the cluster holds nothing yet, and the error says to start again.
"""

import fcntl
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from haven.ask import Answer, NoAnswer, NotSent, ask

log = logging.getLogger("haven.bootstrap")

KEY_BYTES = 32
CALL_SECONDS = 5.0
INIT_SECONDS = 30.0
PAUSE_SECONDS = 0.5
T = TypeVar("T")


class BootstrapFailed(Exception):
    """The cluster is not ready; the text says what to do."""


def make_seal_key(path: Path) -> bool:
    """Write a new random key, readable only by its owner, unless the file exists; True if it was made."""
    if path.exists():
        log.info("seal key kept path=%s", path)
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _write_once(path, secrets.token_bytes(KEY_BYTES), 0o400)
    log.info("seal key %s path=%s", "made" if made else "kept", path)
    return made


@dataclass(frozen=True, slots=True)
class Shares:
    """Into how many shares the key is split, and how many of them open it."""

    shares: int
    threshold: int


class Initialiser:
    """Initialise the cluster behind `nodes` (URLs) once, and keep the answer in `output`."""

    def __init__(self, nodes: Sequence[str], output: Path, shares: Shares, patience: float) -> None:
        self._nodes = nodes
        self._output = output
        self._shares = shares
        self._deadline = time.monotonic() + patience

    def run(self) -> bool:
        """Wait for a node and initialise; False if it was so already. Raises `BootstrapFailed`."""
        self._output.parent.mkdir(parents=True, exist_ok=True)
        with _alone(self._output):
            node, initialised = self._until(self._initialised, "no node tells whether it is initialised")
            if initialised:
                return self._already()
            return self._initialise(node)

    def _already(self) -> bool:
        """Make sure that the keys of an initialised cluster are here."""
        if not self._output.exists():
            raise BootstrapFailed(
                f"the cluster is initialised, but {self._output} does not exist: its keys are elsewhere, or"
                " were lost with an interrupted answer; in that case empty the storage and start again"
            )
        log.info("already initialised keys=%s", self._output)
        return False

    def _initialise(self, node: str) -> bool:
        """Send the one request whose answer must not be lost."""
        writable = self._output.with_name(f".{self._output.name}.{os.getpid()}")
        descriptor = os.open(writable, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            answer = self._until(lambda: self._request(node), f"{node} does not take the request")
            if answer.status != 200:
                return self._refused(node, answer)
            _write_through(descriptor, self._printed(answer.json()))
            # Only now is it certain that the keys in place belong to an earlier cluster: a node that has just
            # started may say "not initialised" before it has seen the storage.
            _move_aside(self._output)
            os.rename(writable, self._output)
        finally:
            os.close(descriptor)
            writable.unlink(missing_ok=True)
        _sync_folder(self._output.parent)
        log.info("initialised node=%s keys=%s", node, self._output)
        return True

    def _printed(self, answer: Mapping[str, Any]) -> bytes:
        """Put the answer as `operator init -format=json` prints it."""
        shares, threshold = self._shares.shares, self._shares.threshold
        recovery = "recovery_keys" in answer
        printed = {
            "unseal_keys_b64": answer.get("keys_base64", []),
            "unseal_keys_hex": answer.get("keys", []),
            "unseal_shares": 1 if recovery else shares,
            "unseal_threshold": 1 if recovery else threshold,
            "recovery_keys_b64": answer.get("recovery_keys_base64", []),
            "recovery_keys_hex": answer.get("recovery_keys", []),
            "recovery_keys_shares": shares if recovery else 0,
            "recovery_keys_threshold": threshold if recovery else 0,
            "root_token": answer.get("root_token", ""),
        }
        return json.dumps(printed, indent=2).encode() + b"\n"

    def _request(self, node: str) -> Answer | None:
        """Initialise; None where it was surely not done and may be tried again."""
        body = self._body(node)
        if body is None:
            return None
        try:
            answer = ask("PUT", f"{node}/v1/sys/init", INIT_SECONDS, body)
        except NotSent:
            return None
        except NoAnswer as silence:
            raise BootstrapFailed(
                f"no answer from {node} ({silence}): the cluster may be initialised with keys that nobody"
                " has; if `haven status` says so, empty the storage and start again"
            ) from None
        return None if answer.status == 503 else answer

    def _refused(self, node: str, answer: Answer) -> bool:
        """Tell another's success from a failure."""
        state = self._until(self._initialised, "no node tells whether it is initialised")
        if state[1]:
            return self._already()
        texts = "; ".join(str(text) for text in answer.json().get("errors", []))
        raise BootstrapFailed(f"{node} refused to initialise: status {answer.status} {texts}")

    def _body(self, node: str) -> dict[str, int] | None:
        """Return the request: a seal that opens itself has recovery shares in place of key shares."""
        try:
            kind = ask("GET", f"{node}/v1/sys/seal-status", CALL_SECONDS).json().get("type", "shamir")
        except NoAnswer:
            return None
        prefix = "secret" if kind == "shamir" else "recovery"
        return {f"{prefix}_shares": self._shares.shares, f"{prefix}_threshold": self._shares.threshold}

    def _initialised(self) -> tuple[str, bool] | None:
        """Return the first node that tells, and what it tells."""
        for node in self._nodes:
            try:
                answer = ask("GET", f"{node}/v1/sys/init", CALL_SECONDS)
            except NoAnswer:
                continue
            told = answer.json().get("initialized")
            if answer.status == 200 and isinstance(told, bool):
                return node, told
        return None

    def _until(self, attempt: Callable[[], T | None], missed: str) -> T:
        """Repeat until there is an answer or patience ends."""
        while (answer := attempt()) is None:
            if time.monotonic() > self._deadline:
                raise BootstrapFailed(missed)
            time.sleep(PAUSE_SECONDS)
        return answer


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Let one bootstrap at a time work on this output; the kernel frees the lock of a dead one."""
    descriptor = os.open(output.with_name(f".{output.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _move_aside(output: Path) -> None:
    """Keep the keys of an earlier cluster, whose storage is gone, under another name."""
    if not output.exists():
        return
    number = 1
    while (aside := output.with_name(f"{output.name}.old-{number}")).exists():
        number += 1
    os.rename(output, aside)
    log.warning("keys of an earlier cluster moved aside path=%s", aside)


def _write_once(path: Path, content: bytes, mode: int) -> bool:
    """Put a whole file in place unless there is one; False if another was first."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        _write_through(descriptor, content)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.close(descriptor)
        temporary.unlink()
    _sync_folder(path.parent)
    return True


def _write_through(descriptor: int, content: bytes) -> None:
    """Write all bytes to the disk."""
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
