"""Run a request on this node: the same way from a client and from another node."""

from collections.abc import Callable

from haven.api import requests, responses
from haven.api.admission import Admission
from haven.api.errors import translate
from haven.api.ports import Node
from haven.core.logical import Request, Response
from haven.errors import NotActive, NotApplied, OutcomeUnknown, Unavailable, ValueTooLarge
from haven.ha.forwarding import RawRequest, RawResponse
from haven.tasks import TaskSet

UNSETTLED = (NotActive, NotApplied, Unavailable, OutcomeUnknown)
"""What the gate decides on; every other error is an answer."""


class Service:
    """The active node's side of every request that is not local."""

    def __init__(
        self, node: Node, admission: Admission, operations: TaskSet, new_id: Callable[[], str]
    ) -> None:
        self._node = node
        self._admission = admission
        self._operations = operations
        self._new_id = new_id

    async def serve(self, raw: RawRequest) -> RawResponse:
        """Run the request here; raises one of `UNSETTLED` where it got no answer."""
        try:
            request = requests.logical(raw)
            if request.path == requests.STEP_DOWN:
                response = await self._step_down(request)
            else:
                response = await self._run(raw, request)
            return responses.answer(request, response, self._new_id)
        except ValueTooLarge as error:
            return translate(error)
        except UNSETTLED:
            raise
        except Exception as error:
            return translate(error)

    async def _run(self, raw: RawRequest, request: Request) -> Response | None:
        """Hand the request to the node; a write outlives its client."""
        run = self._admission.read if raw.is_read else self._admission.write
        return await run(lambda: self._node.handle(request))

    async def _step_down(self, request: Request) -> Response | None:
        """Hand over; outside the admission, which the hand-over itself drains."""
        await self._operations.shield(self._node.step_down(request.token))
        return None
