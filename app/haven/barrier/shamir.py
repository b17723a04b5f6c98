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


def _evaluate(coefficients: bytes, x: int) -> int:
    """Return the value at `x` by Horner's rule; the constant comes first."""
    value = 0
    for coefficient in reversed(coefficients):
        value = _multiply(value, x) ^ coefficient
    return value


def split(secret: bytes, shares: int, threshold: int) -> list[bytes]:
    """Split `secret` so that any `threshold` of the shares give it back; 2 <= threshold <= shares <= 255."""
    if not 2 <= threshold <= shares <= MAX_SHARES:
        raise ShareError("needs 2 <= threshold <= shares <= 255")
    if not secret:
        raise ShareError("cannot split an empty secret")
    xs = secrets.SystemRandom().sample(range(1, MAX_SHARES + 1), shares)
    parts = [bytearray() for _ in xs]
    for byte in secret:
        coefficients = bytes([byte]) + secrets.token_bytes(threshold - 1)
        for x, part in zip(xs, parts, strict=True):
            part.append(_evaluate(coefficients, x))
    return [bytes(part) + bytes([x]) for x, part in zip(xs, parts, strict=True)]


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
    weights = [_weight(x, xs) for x in xs]
    secret = bytearray(length - OVERHEAD)
    for part, weight in zip(parts, weights, strict=True):
        for index in range(length - OVERHEAD):
            secret[index] ^= _multiply(part[index], weight)
    return bytes(secret)


def _weight(x: int, xs: Sequence[int]) -> int:
    """Return Lagrange's basis polynomial of `x` at zero; subtraction is xor in this field."""
    weight = 1
    for other in xs:
        if other != x:
            weight = _multiply(weight, _divide(other, other ^ x))
    return weight
