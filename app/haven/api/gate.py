"""Who answers a request: this node, the holder, the client's next try elsewhere, or nobody yet.

A request is tried again only while it was surely not executed, or if it is a read.
"""

import asyncio
from urllib.parse import urlsplit

from haven.api import errors, replies
from haven.api.admission import Admission
from haven.api.ports import Holder, Node, Role
from haven.api.service import Service
from haven.errors import HavenError, NotActive, NotApplied, OutcomeUnknown, Sealed, Unavailable
from haven.ha.forwarding import RawRequest, RawResponse
from haven.ha.parking import ParkingLot, ParkingRefused
from haven.telemetry import Telemetry

NO_FORWARDING = ("x-vault-no-request-forwarding", "x-vault-internal-no-request-forwarding")
ACTIVATING_SECONDS = 0.3
"""How long a request of another node waits here while this one activates: longer than that takes, and short
enough that few requests are lost with a holder that dies meanwhile."""


class Gate:
    """Decide for each request, again after each change, until it is answered or its patience ends."""

    def __init__(
        self,
        node: Node,
        service: Service,
        admission: Admission,
        lot: ParkingLot,
        telemetry: Telemetry,
        *,
        redirect: bool,
    ) -> None:
        self._node = node
        self._service = service
        self._admission = admission
        self._lot = lot
        self._telemetry = telemetry
        self._redirect = redirect

    async def answer(self, raw: RawRequest) -> RawResponse:
        """Answer a client's request."""
        result = await self._try(raw)
        return result if isinstance(result, RawResponse) else await self._park(raw, result)

    async def handle_forwarded(self, raw: RawRequest) -> RawResponse:
        """Answer another node's request, here; raises `NotActive` if it was surely not executed."""
        if not await self._soon_serves():
            raise NotActive("this node does not answer now")
        result = await self._serve(raw)
        if isinstance(result, RawResponse):
            return result
        raise NotActive("this node could not answer") from result

    async def _soon_serves(self) -> bool:
        """Tell whether this node serves, or does within the moments that activating takes.

        Others hand requests on as soon as they know who holds the lock. Asking again and again
        would cost them more than the activation does.
        """
        try:
            async with asyncio.timeout(ACTIVATING_SECONDS):
                while not self._serves() and self._node.status().role is Role.ACTIVATING:
                    await self._node.changed(ACTIVATING_SECONDS)
        except TimeoutError:
            return False
        return self._serves()

    def _serves(self) -> bool:
        return self._admission.is_open and self._node.may_serve()

    async def _try(self, raw: RawRequest) -> RawResponse | HavenError:
        """Return an answer, or why there is none though nothing was executed."""
        if self._serves():
            return await self._serve(raw)
        status = self._node.status()
        if status.role in (Role.SEALED, Role.UNINITIALISED):
            return replies.errors(503, [errors.SEALED])
        holder = status.holder
        if holder is None or holder.is_self:
            return NotActive("no other node holds the lock")
        if self._must_redirect(raw):
            return _redirection(holder, raw)
        return await self._forward(raw)

    async def _serve(self, raw: RawRequest) -> RawResponse | HavenError:
        """Run the request here."""
        try:
            return await self._service.serve(raw)
        except (NotActive, NotApplied, Unavailable) as error:
            return error
        except OutcomeUnknown as error:
            return _unknown(raw, error)

    async def _forward(self, raw: RawRequest) -> RawResponse | HavenError:
        """Have the holder run the request."""
        try:
            response = await self._node.forward(raw)
        except NotActive as error:
            self._telemetry.forwarded("refused")
            return error
        except Sealed as error:
            return errors.translate(error)
        except OutcomeUnknown as error:
            self._telemetry.forwarded("unknown")
            return _unknown(raw, error)
        self._telemetry.forwarded("ok")
        return response

    async def _park(self, raw: RawRequest, result: HavenError) -> RawResponse:
        """Wait and try again until there is an answer."""
        try:
            async with self._lot.place(len(raw.body) + len(raw.target)) as place:
                while True:
                    await place.wait(self._node.changed)
                    tried = await self._try(raw)
                    if isinstance(tried, RawResponse):
                        return tried
                    result = tried
        except ParkingRefused:
            return self._give_up(raw, result)

    def _give_up(self, raw: RawRequest, reason: HavenError) -> RawResponse:
        """Say that nothing was executed, in Vault's words for the case."""
        if isinstance(reason, NotApplied | Unavailable):
            return errors.translate(reason)
        if not self._node.status().ha_enabled:
            return errors.not_active(errors.NOT_ACTIVE_ALONE)
        return errors.not_active(errors.NO_ACTIVE_TO_NAME if self._must_redirect(raw) else errors.NO_ACTIVE)

    def _must_redirect(self, raw: RawRequest) -> bool:
        return self._redirect or any(raw.headers.get(name) for name in NO_FORWARDING)


def _unknown(raw: RawRequest, error: OutcomeUnknown) -> RawResponse | HavenError:
    """Have a read tried again; tell the client of a write that nobody knows."""
    return NotActive("a read got no answer") if raw.is_read else errors.translate(error)


def _redirection(holder: Holder, raw: RawRequest) -> RawResponse:
    """Name the holder's address for the same target; a path in that address is dropped, as in Vault."""
    address = urlsplit(holder.api_address)
    return replies.empty(307, {"Location": f"{address.scheme}://{address.netloc}{raw.target}"})
