"""Shamir's secret sharing in HashiCorp's share format.

Each byte of the secret is the constant of its own random polynomial over GF(2^8) with AES's
polynomial 0x11B. A share is the polynomials' values at one x, one byte each, followed by that x.
Wrong shares combine to a wrong secret without any error: the caller must check the result by
decrypting something known. Not constant-time: shares are handled by the operators, not by clients.
"""

import secrets
from collections.abc import Sequence

MAX_SHARES = 255
"""There are 255 non-zero x in GF(2^8)."""

OVERHEAD = 1
"""Bytes that a share is longer than the secret: its x."""

_POLYNOMIAL = 0x11B
_GENERATOR = 3


class ShareError(ValueError):
    """The shares cannot belong together; the text never holds a share."""


def _double(value: int) -> int:
    value <<= 1
    return value ^ _POLYNOMIAL if value > 0xFF else value


def _tables() -> tuple[bytes, bytes]:
    """Return the powers of the generator, twice over so that sums need no modulo, and their logarithms."""
    powers, logarithms, value = bytearray(510), bytearray(256), 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logarithms[value] = exponent
        value ^= _double(value)
    return bytes(powers), bytes(logarithms)


_POWERS, _LOGARITHMS = _tables()


def _multiply(left: int, right: int) -> int:
    if not left or not right:
        return 0
    return _POWERS[_LOGARITHMS[left] + _LOGARITHMS[right]]


def _divide(left: int, right: int) -> int:
    if not left:
        return 0
    return _POWERS[_LOGARITHMS[left] + 255 - _LOGARITHMS[right]]


def _times(constant: int) -> bytes:
    """Return the table that multiplies every byte of a string by `constant`, for `bytes.translate`."""
    return bytes(_multiply(constant, value) for value in range(256))


def _add(left: bytes, right: bytes) -> bytes:
    """Add byte by byte, which is xor in this field."""
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))


def split(secret: bytes, shares: int, threshold: int) -> list[bytes]:
    """Split `secret` so that any `threshold` of the shares give it back; 2 <= threshold <= shares <= 255."""
    if not 2 <= threshold <= shares <= MAX_SHARES:
        raise ShareError("needs 2 <= threshold <= shares <= 255")
    if not secret:
        raise ShareError("cannot split an empty secret")
    # Row k holds the coefficients of x^k, one for each byte of the secret.
    rows = [secret, *(secrets.token_bytes(len(secret)) for _ in range(threshold - 1))]
    xs = secrets.SystemRandom().sample(range(1, MAX_SHARES + 1), shares)
    return [_evaluate(rows, x) + bytes([x]) for x in xs]


def _evaluate(rows: Sequence[bytes], x: int) -> bytes:
    """Return the values of all polynomials at `x`, by Horner's rule."""
    times_x, values = _times(x), bytes(len(rows[0]))
    for row in reversed(rows):
        values = _add(values.translate(times_x), row)
    return values


def combine(parts: Sequence[bytes]) -> bytes:
    """Interpolate the shares at zero; raises `ShareError` only when they cannot belong together."""
    if len(parts) < 2:
        raise ShareError("less than two parts cannot be used to reconstruct the secret")
    length = len(parts[0])
    if length < 2:
        raise ShareError("parts must be at least two bytes")
    if any(len(part) != length for part in parts):
        raise ShareError("all parts must be the same length")
    xs = [part[-1] for part in parts]
    if 0 in xs or len(set(xs)) != len(xs):
        raise ShareError("duplicate part detected")
    secret = bytes(length - OVERHEAD)
    for part in parts:
        secret = _add(secret, part[:-OVERHEAD].translate(_times(_weight(part[-1], xs))))
    return secret


def _weight(x: int, xs: Sequence[int]) -> int:
    """Return Lagrange's basis polynomial of `x` at zero; subtraction is addition in this field."""
    weight = 1
    for other in xs:
        if other != x:
            weight = _multiply(weight, _divide(other, other ^ x))
    return weight
