"""Short ways to write a step."""

from typing import Any

from support.comparison import Step


def get(name: str, path: str, **rest: Any) -> Step:
    return Step(name, "GET", path, **rest)


def list_(name: str, path: str, **rest: Any) -> Step:
    return Step(name, "LIST", path, **rest)


def put(name: str, path: str, body: Any = None, **rest: Any) -> Step:
    return Step(name, "POST", path, body, **rest)


def delete(name: str, path: str, **rest: Any) -> Step:
    return Step(name, "DELETE", path, **rest)


def patch(name: str, path: str, body: Any, **rest: Any) -> Step:
    kind = {"Content-Type": "application/merge-patch+json"}
    return Step(name, "PATCH", path, body, headers=kind, **rest)
