"""Start a node under gunicorn: `python -m haven.server.start`, or `haven server`."""

import os
import sys
from collections.abc import Mapping

from gunicorn.app.base import BaseApplication
from gunicorn.util import import_app
from prometheus_client import disable_created_metrics

from haven import logs
from haven.config import Config, Invalid
from haven.server import hardening
from haven.server.settings import SoleWorkerArbiter, settings

TARGET = "haven.asgi:app"
CUSTOM_METHODS = "FALCON_CUSTOM_HTTP_METHODS"


class NodeApplication(BaseApplication):  # type: ignore[misc]
    """What gunicorn runs: an ASGI application named by `target`, imported in the worker."""

    def __init__(self, config: Config, target: str, changes: Mapping[str, object]) -> None:
        self._config = config
        self._target = target
        self._changes = changes
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings; neither its files nor its variables are read."""
        for name, value in {**settings(self._config), **self._changes}.items():
            self.cfg.set(name, value)

    def load(self) -> object:
        """Import the application."""
        return import_app(self._target)

    def run(self) -> None:
        """Run until the node has left."""
        SoleWorkerArbiter(self).run()


def serve(config: Config, target: str = TARGET, **changes: object) -> None:
    """Serve `target` until it ends by raising SystemExit; `changes` replace settings of gunicorn."""
    logs.configure(config.log_level, config.log_format)
    hardening.forbid_dumps()
    # A time of birth for each series would double a scrape, and nobody asks for it.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    # Falcon reads it when it is imported, which the worker does.
    os.environ[CUSTOM_METHODS] = "LIST"
    NodeApplication(config, target, changes).run()


def main(target: str = TARGET) -> int:
    """Read the environment and serve; return 2 where the configuration is wrong."""
    try:
        config = Config.from_environment(os.environ)
    except Invalid as invalid:
        print(f"haven: {invalid}", file=sys.stderr)
        return 2
    serve(config, target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
