"""Read and check environment variables; what is wrong with one is said with its name."""

import difflib
import ipaddress
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from haven.variables import VARIABLES, Variable

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})
LARGEST_SECRET = 64 * 1024


class Invalid(ValueError):
    """A variable's value is refused; the text names the variable and what is allowed, never a secret."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


class Environment:
    """The values of the known variables; an unknown `HAVEN_` name is refused: it may be misspelt."""

    def __init__(self, values: Mapping[str, str], known: Iterable[Variable] = VARIABLES) -> None:
        self._values = values
        self._known = {variable.name: variable for variable in known}
        allowed = set(self._known) | {f"{v.name}_FILE" for v in self._known.values() if v.secret}
        for name in sorted(values):
            if name.startswith("HAVEN_") and name not in allowed:
                near = difflib.get_close_matches(name, allowed, 1)
                raise Invalid(name, f"unknown variable, is {near[0]} meant?" if near else "unknown variable")

    def text(self, name: str) -> str:
        """Return the value, or its default where it is absent or empty."""
        return self._values.get(name, "").strip() or self._known[name].default

    def secret(self, name: str) -> str:
        """Return a secret, from the variable or from the file that `<name>_FILE` names."""
        direct, path = self._values.get(name, ""), self._values.get(f"{name}_FILE", "")
        if direct and path:
            raise Invalid(name, f"give it or {name}_FILE, not both")
        if not path:
            return direct.strip()
        try:
            with Path(path).open("rb") as file:
                return file.read(LARGEST_SECRET).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"{name}_FILE", f"cannot be read: {_reason(error)}") from None

    def choice(self, name: str, allowed: Iterable[str]) -> str:
        """Return one of the allowed words."""
        value, words = self.text(name).lower(), [str(word) for word in allowed]
        if value not in words:
            raise Invalid(name, f"{value!r} is not one of {', '.join(words)}")
        return value

    def switch(self, name: str) -> bool:
        """Return true or false."""
        value = self.text(name).lower()
        if value not in TRUE | FALSE:
            raise Invalid(name, f"{value!r} is not true or false")
        return value in TRUE

    def number(self, name: str, least: float, most: float) -> float:
        """Return a number from `least` to `most`."""
        value = self.text(name)
        try:
            number = float(value)
        except ValueError:
            raise Invalid(name, f"{value!r} is not a number") from None
        if not math.isfinite(number) or not least <= number <= most:
            raise Invalid(name, f"{value} is not between {least:g} and {most:g}")
        return number

    def integer(self, name: str, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""
        value = self.text(name)
        if not value.isascii() or not value.isdigit():
            raise Invalid(name, f"{value!r} is not a whole number")
        if not least <= int(value) <= most:
            raise Invalid(name, f"{value} is not between {least} and {most}")
        return int(value)

    def address(self, name: str) -> tuple[str, int]:
        """Return host and port of `HOST:PORT` or `[IPV6]:PORT`."""
        value = self.text(name)
        host, colon, port = value.rpartition(":")
        if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
            raise Invalid(name, f"{value!r} is not HOST:PORT")
        bracketed = host.startswith("[") and host.endswith("]")
        if ":" in host and not bracketed:
            raise Invalid(name, f"{value!r} needs brackets around an IPv6 address")
        return host.strip("[]"), int(port)

    def url(self, name: str) -> str:
        """Return a URL without a trailing slash, or ""."""
        value = self.text(name)
        return _url(name, value) if value else ""

    def urls(self, name: str) -> tuple[str, ...]:
        """Return at least one URL of a list with commas; `http://` may be left out."""
        values = [value.strip() for value in self.text(name).split(",") if value.strip()]
        found = tuple(_url(name, value if "://" in value else f"http://{value}") for value in values)
        if len(set(found)) != len(found) or not found:
            raise Invalid(name, "one or more different URLs are needed")
        return found

    def networks(self, name: str) -> tuple[str, ...]:
        """Return addresses and networks of a list with commas."""
        values = tuple(value.strip() for value in self.text(name).split(",") if value.strip())
        for value in values:
            try:
                ipaddress.ip_network(value)
            except ValueError:
                raise Invalid(name, f"{value!r} is not an IP address or network") from None
        return values

    def path(self, name: str) -> Path:
        """Return an absolute path."""
        path = Path(self.text(name))
        if not path.is_absolute():
            raise Invalid(name, f"{str(path)!r} is not an absolute path")
        return path

    def readable(self, name: str) -> Path | None:
        """Return the path of a file that this process can read, or None."""
        if not self.text(name):
            return None
        path = self.path(name)
        try:
            path.open("rb").close()
        except OSError as error:
            raise Invalid(name, f"cannot be read: {_reason(error)}") from None
        return path


def _url(name: str, value: str) -> str:
    """Check one URL: scheme, host, an optional port, nothing behind."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise Invalid(name, "not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise Invalid(name, "a URL with a user or password is not allowed")
    plain = parts.path in {"", "/"} and not parts.query and not parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not plain:
        raise Invalid(name, f"{value!r} is not http(s)://HOST[:PORT]")
    return value.rstrip("/")


def _reason(error: Exception) -> str:
    """Say why a file could not be read, without its contents."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
