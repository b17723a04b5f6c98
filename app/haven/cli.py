"""The `haven` command. Each subcommand imports what it needs when it runs, so that all start fast."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from haven.version import VERSION

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return the exit status."""
    chosen = _parser().parse_args(arguments)
    return int(chosen.run(chosen))


def _parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="haven", description="A secrets service that stays up.")
    parser.add_argument("--version", action="version", version=f"haven {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    server = commands.add_parser("server", help="run a node, configured by HAVEN_* variables")
    server.set_defaults(run=_server)
    _describe_dev(commands)
    _describe_bootstrap(commands)
    _describe_status(commands)
    return parser


def _describe_dev(commands: Parsers) -> None:
    dev = commands.add_parser("dev", help="run one unsealed node in memory, to try things out")
    dev.add_argument("--listen", default="127.0.0.1:8200", metavar="HOST:PORT", help="default: %(default)s")
    dev.add_argument(
        "--metrics", default="127.0.0.1:9102", metavar="HOST:PORT", help="metrics, default: %(default)s"
    )
    dev.set_defaults(run=_dev)


def _describe_bootstrap(commands: Parsers) -> None:
    bootstrap = commands.add_parser("bootstrap", help="make the seal key, initialise the cluster once")
    bootstrap.add_argument("--seal-key", type=Path, metavar="PATH", help="make this key file if it is absent")
    bootstrap.add_argument(
        "--init", action="append", default=[], metavar="URL", help="initialise through this node; repeatable"
    )
    bootstrap.add_argument(
        "--output", type=Path, metavar="PATH", help="where the keys go, readable by the owner"
    )
    bootstrap.add_argument("--shares", type=int, default=5, help="key shares, default: %(default)s")
    bootstrap.add_argument("--threshold", type=int, default=3, help="shares that open, default: %(default)s")
    bootstrap.add_argument(
        "--wait", type=float, default=180.0, metavar="SECONDS", help="default: %(default)s"
    )
    bootstrap.set_defaults(run=_bootstrap, parser=bootstrap)


def _describe_status(commands: Parsers) -> None:
    status = commands.add_parser("status", help="show every node: state, who is active, since when and why")
    status.add_argument(
        "node", nargs="*", help="HOST or URL; default: $HAVEN_NODES, else this container's node"
    )
    status.add_argument("--metrics-port", type=int, default=9102, help="default: %(default)s")
    status.set_defaults(run=_status)


def _server(_: argparse.Namespace) -> int:
    from haven.server.start import main as serve

    return serve()


def _dev(chosen: argparse.Namespace) -> int:
    from haven.dev import DevFailed, run

    try:
        return run(chosen.listen, chosen.metrics, sys.stdout)
    except DevFailed as failed:
        return _complain(str(failed))


def _bootstrap(chosen: argparse.Namespace) -> int:
    from haven import logs
    from haven.bootstrap import BootstrapFailed, Initialiser, Shares, make_seal_key

    if bool(chosen.init) != bool(chosen.output) or not (chosen.seal_key or chosen.init):
        chosen.parser.error("give --seal-key PATH, or --init URL and --output PATH, or all of them")
    logs.configure("info", os.environ.get("HAVEN_LOG_FORMAT", "text"))
    try:
        if chosen.seal_key:
            make_seal_key(chosen.seal_key)
        if chosen.init:
            nodes = [_url(node) for node in chosen.init]
            Initialiser(nodes, chosen.output, Shares(chosen.shares, chosen.threshold), chosen.wait).run()
    except (BootstrapFailed, OSError) as failed:
        return _complain(str(failed))
    return 0


def _status(chosen: argparse.Namespace) -> int:
    from haven.overview import overview, own_address, table, verdict

    listed = chosen.node or [name for name in os.environ.get("HAVEN_NODES", "").split(",") if name.strip()]
    views = overview([_url(name) for name in listed] or [own_address(os.environ)], chosen.metrics_port)
    well, line = verdict(views)
    print(table(views), line, sep="\n\n")
    return 0 if well else 1


def _url(node: str) -> str:
    """Complete a node's address: `haven-1` is `http://haven-1:8200`."""
    node = node.strip()
    if "://" in node:
        return node.rstrip("/")
    return f"http://{node}" if ":" in node else f"http://{node}:8200"


def _complain(text: str) -> int:
    print(f"haven: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
