"""What one activation serves with: a store, the core over it, and what the node adds to `sys/`."""

from collections.abc import Callable

from haven.clock import Clock
from haven.core import layout, mount_store
from haven.core.core import Core
from haven.core.logical import Request, Response
from haven.core.rotation import Rotation
from haven.core.running import Running
from haven.core.token_entry import SALT_KEY
from haven.duties import ShareDuties, SystemDuties
from haven.engines.catalog import ENGINES
from haven.errors import NotActive, NotApplied, OutcomeUnknown, Unavailable
from haven.ha.leadership import Peer
from haven.storage.active import ActiveStore
from haven.storage.commit_count import count_commits


class Duty:
    """The core of one activation; made anew each time, so that nothing outlives the authority it came by."""

    def __init__(self, store: ActiveStore, running: Running, shares: ShareDuties, rotation: Rotation) -> None:
        self._store = store
        self._rotation = rotation
        self._running = running
        self._shares = shares

    @classmethod
    async def load(
        cls,
        core: Core,
        store: ActiveStore,
        clock: Clock,
        me: Callable[[], Peer],
        peers: Callable[[], list[Peer]],
    ) -> "Duty":
        """Read what serving needs; raises `Unavailable`."""
        rotation = core.rotation(store)
        system = SystemDuties(rotation, clock, me, peers)

        async def create_root_token() -> str:
            return await running.create_root_token()

        shares = ShareDuties(
            core.rekey(store), core.recovery_rekey(store), core.generate_root(store, create_root_token)
        )
        handlers = {**shares.handlers(), **system.handlers()}
        running = await Running.activate(core.view(store, ""), clock, ENGINES, handlers)
        return cls(store, running, shares, rotation)

    @staticmethod
    def first_keys(*, static_seal: bool) -> tuple[str, ...]:
        """Return what activating reads; all of it exists, so that one call can read it."""
        keys = (layout.KEYRING, layout.SEAL_CONFIG, mount_store.KEY, SALT_KEY)
        return (*keys, layout.RECOVERY_CONFIG) if static_seal else keys

    def serve(self) -> None:
        """Begin to serve."""
        self._store.serve()

    def in_use(self) -> tuple[list[str], list[str]]:
        """Return the keys in storage that were used last: existing and absent ones."""
        return self._store.in_use()

    def end(self) -> None:
        """End for good: nothing more is answered."""
        self._store.end()

    async def keep_up(self) -> None:
        """Finish what an earlier activation left undone, and rotate keys when that is due."""
        await self._running.tidy()
        await self._rotation.maintain()

    async def authorize(self, token: str, path: str) -> None:
        """Check a token for a path outside of the mounts; raises `RequestError`."""
        await self._running.authorize(token, path)

    async def handle(self, request: Request) -> Response | None:
        """Answer one request.

        A request of several commits that fails after the first was partly done: that must
        not be told as "surely not executed".
        """
        handler = self._shares if self._shares.answers(request) else self._running
        with count_commits() as commits:
            try:
                return await handler.handle(request)
            except (NotActive, NotApplied, Unavailable) as error:
                if commits:
                    raise OutcomeUnknown("the request was cut off after part of it had been done") from error
                raise
