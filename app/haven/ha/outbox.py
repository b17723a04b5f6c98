"""What one side of a link has still to send, and in which order."""

import asyncio
from collections import deque
from collections.abc import Iterator

from haven.ha.frames import Frame, Kind, Message, split


class Sending:
    """A message on its way out; `complete` once all of it was handed to the connection."""

    def __init__(self, message: Message) -> None:
        self.number = message.number
        self.begun = False
        self.complete = False
        self._frames: Iterator[Frame] = split(message)

    def next(self) -> Frame:
        """Return the next frame."""
        frame = next(self._frames)
        self.begun = True
        self.complete = frame.last
        return frame


class Outbox:
    """What waits to be sent: lone frames first, then one frame of each message in turn."""

    def __init__(self) -> None:
        self._lone: deque[Frame] = deque()
        self._messages: deque[Sending] = deque()
        self._filled = asyncio.Event()

    def post(self, frame: Frame) -> None:
        """Add a frame that stands alone."""
        self._lone.append(frame)
        self._filled.set()

    def send(self, message: Message) -> Sending:
        """Add a message; raises `MessageTooLarge`."""
        sending = Sending(message)
        self._messages.append(sending)
        self._filled.set()
        return sending

    def withdraw(self, sending: Sending) -> bool:
        """Take a message back; tell whether the other side surely never gets all of it."""
        if sending.complete:
            return False
        if sending in self._messages:
            self._messages.remove(sending)
            if sending.begun:
                self.post(Frame(Kind.CANCEL, sending.number))
        return True

    def next(self) -> Frame | None:
        """Return the frame to send now."""
        if self._lone:
            return self._lone.popleft()
        if not self._messages:
            self._filled.clear()
            return None
        sending = self._messages.popleft()
        frame = sending.next()
        if not sending.complete:
            self._messages.append(sending)
        return frame

    @property
    def lone(self) -> int:
        """Tell how many lone frames wait; one of them is as good as a ping."""
        return len(self._lone)

    @property
    def empty(self) -> bool:
        """Tell whether nothing waits."""
        return not self._lone and not self._messages

    async def filled(self) -> None:
        """Wait for something to send."""
        await self._filled.wait()
