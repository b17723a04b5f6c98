"""Read the part of HCL that policies are written in, and JSON, into plain items. Pure.

An item is a list of keys and a value: `path "a/*" { x = 1 }` is `(["path", "a/*"], [(["x"], 1)])`.
"""

import re
from typing import Any

import orjson

Item = tuple[list[str], Any]

TOKEN = re.compile(
    r"""
    (?P<blank>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
  | (?P<heredoc><<-?(?P<mark>[A-Za-z_]\w*)[ \t]*\r?\n(?P<body>.*?)^[ \t]*(?P=mark)[ \t]*$)
  | "(?P<string>(?:[^"\\\n]|\\.)*)"
  | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
  | (?P<word>[A-Za-z_][\w.\-]*)
  | (?P<mark_of>[{}\[\]=,:])
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
MAX_DEPTH = 16


class PolicySyntaxError(ValueError):
    """A policy's text cannot be read; the message says where."""


def parse_items(text: str) -> list[Item]:
    """Return the top-level items of a policy's text; raises `PolicySyntaxError`."""
    if text.lstrip().startswith("{"):
        return _from_json(text)
    return _Parser(text).document()


def _from_json(text: str) -> list[Item]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise PolicySyntaxError("invalid JSON") from None
    return _json_items(document)


def _json_items(value: object) -> list[Item]:
    """Turn objects into items; below `path` (an object, or a list of them) each key is a label."""
    items: list[Item] = []
    if not isinstance(value, dict):
        raise PolicySyntaxError("expected an object")
    for name, inner in value.items():
        if name != "path":
            items.append(([name], inner))
            continue
        for group in inner if isinstance(inner, list) else [inner]:
            if not isinstance(group, dict):
                raise PolicySyntaxError('"path" must hold objects')
            for label, body in group.items():
                for block in body if isinstance(body, list) else [body]:
                    items.append((["path", label], _json_block(block)))
    return items


def _json_block(block: object) -> list[Item]:
    if not isinstance(block, dict):
        raise PolicySyntaxError('"path" must hold objects')
    return [([name], _json_value(value)) for name, value in block.items()]


def _json_value(value: object) -> object:
    return [([name], inner) for name, inner in value.items()] if isinstance(value, dict) else value


class _Parser:
    """A recursive-descent reader over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def document(self) -> list[Item]:
        items = self._items(0)
        if self._at < len(self._tokens):
            raise self._error("unexpected")
        return items

    def _items(self, depth: int) -> list[Item]:
        if depth > MAX_DEPTH:
            raise PolicySyntaxError("nested too deeply")
        items = []
        while self._at < len(self._tokens) and self._peek() != ("mark", "}"):
            items.append(self._item(depth))
            if self._peek() == ("mark", ","):
                self._at += 1
        return items

    def _item(self, depth: int) -> Item:
        keys: list[str] = []
        while self._peek()[0] in {"string", "word"}:
            keys.append(str(self._next()[1]))
        if not keys:
            raise self._error("expected a key, found")
        if self._peek()[1] in {"=", ":"} and len(keys) == 1:
            self._at += 1
            return keys, self._value(depth)
        if self._peek() != ("mark", "{"):
            raise self._error('expected "=" or "{", found')
        return keys, self._block(depth)

    def _value(self, depth: int) -> Any:
        kind, value = self._peek()
        if (kind, value) == ("mark", "{"):
            return self._block(depth)
        if (kind, value) == ("mark", "["):
            return self._list(depth)
        self._at += 1
        if kind in {"string", "number"}:
            return value
        if kind == "word" and value in {"true", "false"}:
            return value == "true"
        self._at -= 1
        raise self._error("expected a value, found")

    def _block(self, depth: int) -> list[Item]:
        self._at += 1
        items = self._items(depth + 1)
        if self._peek() != ("mark", "}"):
            raise self._error('expected "}", found')
        self._at += 1
        return items

    def _list(self, depth: int) -> list[Any]:
        if depth > MAX_DEPTH:
            raise PolicySyntaxError("nested too deeply")
        self._at += 1
        values: list[Any] = []
        while self._peek() != ("mark", "]"):
            values.append(self._value(depth + 1))
            if self._peek() == ("mark", ","):
                self._at += 1
            elif self._peek() != ("mark", "]"):
                raise self._error('expected "," or "]", found')
        self._at += 1
        return values

    def _peek(self) -> tuple[str, Any]:
        return self._tokens[self._at][:2] if self._at < len(self._tokens) else ("end", "the end")

    def _next(self) -> tuple[str, Any]:
        token = self._peek()
        self._at += 1
        return token

    def _error(self, text: str) -> PolicySyntaxError:
        line = self._tokens[min(self._at, len(self._tokens) - 1)][2] if self._tokens else 1
        return PolicySyntaxError(f"line {line}: {text} {self._peek()[1]!r}")


def _tokens(text: str) -> list[tuple[str, Any, int]]:
    tokens: list[tuple[str, Any, int]] = []
    at, line = 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise PolicySyntaxError(f"line {line}: unexpected {text[at]!r}")
        if match["heredoc"] is not None:
            tokens.append(("string", match["body"], line))
        elif match["string"] is not None:
            tokens.append(("string", ESCAPE.sub(_unescape, match["string"]), line))
        elif match["number"] is not None:
            number = match["number"]
            tokens.append(("number", float(number) if "." in number else int(number), line))
        elif match["word"] is not None:
            tokens.append(("word", match["word"], line))
        elif match["mark_of"] is not None:
            tokens.append(("mark", match["mark_of"], line))
        line += match[0].count("\n")
        at = match.end()
    return tokens


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else ESCAPES.get(match[2], match[2])
