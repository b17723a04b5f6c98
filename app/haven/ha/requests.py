"""Requests that were sent over links and are not answered yet."""

import asyncio
import itertools

from haven.errors import NotActive, OutcomeUnknown
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.frames import Assembler, Frame, Kind, Message, Outcome, read_response, request_message
from haven.ha.link import Link
from haven.ha.outbox import Sending


class OpenRequests:
    """The open requests of one link: each ends in an answer, `NotActive` or `OutcomeUnknown`."""

    def __init__(self, link: Link, patience: float) -> None:
        """`patience` is how long (seconds) one request may wait while the peer goes on to speak."""
        self._link = link
        self._patience = patience
        self._numbers = itertools.count(1)
        self._assembler = Assembler()
        self._open: dict[int, tuple[Sending, asyncio.Future[RawResponse]]] = {}

    @property
    def idle(self) -> bool:
        """Tell whether nothing waits for an answer."""
        return not self._open

    async def ask(self, request: RawRequest) -> RawResponse:
        """Send a request and return the answer.

        Raises `NotActive` when it was surely not executed, `OutcomeUnknown` when it may have been,
        `MessageTooLarge` when it cannot be sent at all.
        """
        if not self._link.responsive:
            raise NotActive("the active node does not answer")
        number = next(self._numbers)
        sending = self._link.outbox.send(request_message(number, request))
        answer: asyncio.Future[RawResponse] = asyncio.get_running_loop().create_future()
        self._open[number] = (sending, answer)
        try:
            async with asyncio.timeout(self._patience):
                return await answer
        except TimeoutError:
            raise self._unanswered(sending) from None
        finally:
            self._open.pop(number, None)
            self._link.outbox.withdraw(sending)

    def take(self, frame: Frame) -> None:
        """Take a frame of an answer; raises `FrameError`."""
        if frame.kind is Kind.REST:
            message = self._assembler.go_on(frame)
            if message:
                self._answer(message)
            return
        begun = self._assembler.begin(frame)
        if isinstance(begun, Message):
            self._answer(begun)
        elif not begun:
            self._fail(frame.number)

    def abandon(self) -> None:
        """Fail what is open: the link has ended, or its peer is silent."""
        for number in list(self._open):
            self._fail(number)

    def _answer(self, message: Message) -> None:
        response = read_response(message)
        _, answer = self._open.pop(message.number, (None, None))
        if answer is None or answer.done():
            return
        if isinstance(response, RawResponse):
            answer.set_result(response)
        elif response is Outcome.NOT_EXECUTED:
            answer.set_exception(NotActive("the other node is not active"))
        else:
            answer.set_exception(OutcomeUnknown("the active node lost the request's outcome"))

    def _fail(self, number: int) -> None:
        sending, answer = self._open.pop(number, (None, None))
        if sending is None or answer is None or answer.done():
            return
        answer.set_exception(self._unanswered(sending))

    def _unanswered(self, sending: Sending) -> NotActive | OutcomeUnknown:
        """Take a request back if it is not sent whole yet; tell what is known of its outcome."""
        if self._link.outbox.withdraw(sending):
            return NotActive("the request did not reach the active node")
        return OutcomeUnknown("the active node took the request and did not answer")
