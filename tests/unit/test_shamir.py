from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haven.barrier import shamir


def slow_multiply(left: int, right: int) -> int:
    """Multiply in AES's field bit by bit: an independent check of the tables."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left = (left << 1) ^ (0x11B if left & 0x80 else 0)
        right >>= 1
    return product


def slow_share(coefficients: list[bytes], x: int) -> bytes:
    """Evaluate one polynomial per byte by powers of x; `coefficients` starts with the secret."""
    share, power = bytearray(len(coefficients[0])), 1
    for row in coefficients:
        for index, coefficient in enumerate(row):
            share[index] ^= slow_multiply(coefficient, power)
        power = slow_multiply(power, x)
    return bytes(share) + bytes([x])


def test_combines_the_vector_of_the_threshold_sharing_draft() -> None:
    # draft-mcgrew-tss-03, section 9: the same field; its share index goes last in HashiCorp's format.
    shares = [bytes.fromhex("b9fa07e185") + b"\x01", bytes.fromhex("f5409b4511") + b"\x02"]
    assert shamir.combine(shares) == b"test\x00"


@given(
    secret=st.binary(min_size=1, max_size=40),
    others=st.integers(min_value=1, max_value=5),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_combines_shares_made_by_an_independent_implementation(
    secret: bytes, others: int, data: st.DataObject
) -> None:
    rows = [
        secret,
        *(data.draw(st.binary(min_size=len(secret), max_size=len(secret))) for _ in range(others)),
    ]
    xs = data.draw(st.lists(st.integers(1, 255), min_size=others + 1, max_size=others + 1, unique=True))
    assert shamir.combine([slow_share(rows, x) for x in xs]) == secret


@given(secret=st.binary(min_size=1, max_size=40), threshold=st.integers(2, 5), extra=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_any_threshold_of_the_shares_gives_the_secret_back(secret: bytes, threshold: int, extra: int) -> None:
    shares = shamir.split(secret, threshold + extra, threshold)
    assert all(len(share) == len(secret) + 1 for share in shares)
    assert {shamir.combine(some) for some in combinations(shares, threshold)} == {secret}


def test_fewer_shares_or_a_foreign_one_give_something_else_without_an_error() -> None:
    secret = bytes(32)
    shares = shamir.split(secret, 3, 3)
    assert shamir.combine(shares[:2]) != secret
    foreign = bytes([shares[2][0] ^ 1]) + shares[2][1:]
    assert shamir.combine([*shares[:2], foreign]) != secret


def test_255_shares_have_all_x_but_zero() -> None:
    shares = shamir.split(b"k", 255, 2)
    assert {share[-1] for share in shares} == set(range(1, 256))


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([b"ab"], "less than two parts"),
        ([b"a", b"b"], "at least two bytes"),
        ([b"abc", b"ab"], "same length"),
        ([b"ab", b"cb"], "duplicate part"),
        ([b"a\x00", b"b\x01"], "duplicate part"),
    ],
)
def test_refuses_parts_that_cannot_belong_together(parts: list[bytes], text: str) -> None:
    with pytest.raises(shamir.ShareError, match=text):
        shamir.combine(parts)


@pytest.mark.parametrize(("shares", "threshold"), [(1, 1), (2, 3), (256, 2), (3, 1)])
def test_refuses_to_split_into_impossible_numbers(shares: int, threshold: int) -> None:
    with pytest.raises(shamir.ShareError):
        shamir.split(b"secret", shares, threshold)


def test_refuses_to_split_nothing() -> None:
    with pytest.raises(shamir.ShareError):
        shamir.split(b"", 3, 2)
