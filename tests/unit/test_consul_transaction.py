import json

import pytest

from haven.errors import ConditionFailed, Fenced, NotApplied, OutcomeUnknown, ValueTooLarge
from haven.storage.base import Delete, Limits, Put, PutIfAbsent
from haven.storage.consul_transaction import outcome_of
from haven.storage.consul_transport import NoAnswer, NotSent, Refused
from haven.storage.kv_operations import data_operation, refusal
from haven.storage.limits import can_exist, check_commit


def errors(*failed: tuple[int, str]) -> bytes:
    return json.dumps({"Errors": [{"OpIndex": number, "What": what} for number, what in failed]}).encode()


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (NotSent("refused"), NotApplied),
        (Refused(409, errors((3, "failed"))), ConditionFailed),
        (Refused(409, errors((0, 'current session "abc"'))), Fenced),
        (Refused(400, b""), NotApplied),
        (Refused(405, b""), NotApplied),
        (Refused(413, b""), NotApplied),
        (Refused(500, b"rpc error getting client: failed to get conn: refused"), NotApplied),
        (Refused(500, b"rpc error making call: EOF"), OutcomeUnknown),
        (Refused(500, b"leadership lost while committing log"), OutcomeUnknown),
        (Refused(500, b"No cluster leader"), OutcomeUnknown),
        (Refused(502, b"rpc error getting client"), OutcomeUnknown),
        (Refused(403, b"rpc error getting client"), OutcomeUnknown),
        (NoAnswer("deadline"), OutcomeUnknown),
    ],
)
def test_only_what_was_never_seen_applied_counts_as_not_applied(failure, outcome):
    assert type(outcome_of(failure, fenced=True)) is outcome


@pytest.mark.parametrize(
    ("what", "holder"),
    [
        ('failed session check for key "p/core/lock", current session "abc"', "abc"),
        ('failed session check for key "p/core/lock", current session ""', ""),
        ('failed to check session, key "p/core/lock" doesn\'t exist', ""),
        ("something else", None),
    ],
)
def test_the_fences_refusal_names_the_holder(what, holder):
    refused = refusal(errors((2, "other"), (0, what)), fenced=True)
    assert isinstance(refused, Fenced)
    assert refused.holder == holder


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"Errors": null}', b'{"Errors": [{}]}', b"\xff"])
def test_a_refusal_without_consuls_reasons_blames_no_fence(body):
    assert type(refusal(body, fenced=True)) is ConditionFailed


def test_without_a_fence_operation_0_is_no_fence():
    assert type(refusal(errors((0, 'current session "abc"')), fenced=False)) is ConditionFailed


def test_no_key_or_value_comes_out_in_an_error():
    for failure in (Refused(409, errors((1, 'key "very/private"'))), Refused(500, b"very/private")):
        assert "private" not in str(outcome_of(failure, fenced=True))


def test_operations_in_consuls_words():
    assert data_operation("p/", Put("a", b"1")) == {"KV": {"Verb": "set", "Key": "p/a", "Value": "MQ=="}}
    assert data_operation("p/", Delete("a")) == {"KV": {"Verb": "delete", "Key": "p/a"}}
    assert data_operation("p/", PutIfAbsent("a", b""))["KV"]["Index"] == 0


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ([Put("a", b"12345")], ValueTooLarge),
        ([Put("a", b"1234"), PutIfAbsent("b", b"1234"), Put("c", b"1")], ValueTooLarge),
        ([Delete("a")] * 4, NotApplied),
    ],
)
def test_limits(operations, error):
    with pytest.raises(error):
        check_commit(operations, Limits(operations=3, value_bytes=4, commit_bytes=8))


def test_what_just_fits_passes():
    check_commit([Put("a", b"1234"), Put("b", b"1234"), Delete("c")], Limits(3, 4, 8))


@pytest.mark.parametrize("key", ["a", "a/b", "a b/ä?#%2F", "folder/", "a.b/..c"])
def test_keys_that_can_exist(key):
    assert can_exist(key)


@pytest.mark.parametrize("key", ["", "/", "/a", "a//b", "a/../b", "./a", "a/.", "a\n", "a\x00b"])
def test_keys_that_cannot_exist(key):
    assert not can_exist(key)
