"""One line per record, and no secret in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from haven import logs
from haven.errors import Unavailable


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def written(form: str, level: str = "debug") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream


def test_a_record_is_one_line_of_pairs() -> None:
    stream = written("text")
    logging.getLogger("haven.ha.member").info("took over road=%s term=%d", "death", 7)
    line = stream.getvalue()
    assert line.startswith("time=20")
    assert line.endswith(" level=info area=ha took over road=death term=7\n")


def test_line_breaks_are_escaped() -> None:
    stream = written("text")
    logging.getLogger("haven.api").warning("bad path=%s", "a\nlevel=critical\r")
    assert stream.getvalue().count("\n") == 1
    assert r"a\nlevel=critical\r" in stream.getvalue()


def test_json_makes_members_of_pairs() -> None:
    stream = written("json")
    logging.getLogger("haven.ha").info('took over road=%s note="a b"', "death")
    record = json.loads(stream.getvalue())
    assert record["message"] == "took over"
    assert (record["road"], record["note"], record["area"], record["level"]) == ("death", "a b", "ha", "info")


def test_a_pair_cannot_take_the_place_of_a_leading_field() -> None:
    stream = written("json")
    logging.getLogger("haven.ha").info("x level=critical area=none")
    record = json.loads(stream.getvalue())
    assert (record["level"], record["area"]) == ("info", "ha")


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_is_told_by_type_and_place_without_its_text(form: str) -> None:
    stream = written(form)
    try:
        raise KeyError("plaintext-of-a-secret")
    except KeyError:
        logging.getLogger("haven.core").exception("request failed")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert "KeyError" in line
    assert "test_logs" in line
    assert "plaintext" not in line


def test_the_text_of_clean_errors_is_kept() -> None:
    stream = written("text")
    try:
        raise Unavailable("no leader")
    except Unavailable:
        logging.getLogger("haven.storage").exception("read failed")
    assert 'error="Unavailable: no leader"' in stream.getvalue()


@pytest.mark.parametrize("token", ["hvs.CAESIJ_abc-123", "hvb.AAAAAQabcdefgh", "s.ABCDefgh1234IJKLmnop5678"])
def test_a_token_that_slips_in_is_hidden(token: str) -> None:
    stream = written("text")
    logging.getLogger("haven.core").info("token=%s", token)
    assert token not in stream.getvalue()
    assert "token=[token]" in stream.getvalue()


def test_the_level_counts() -> None:
    stream = written("text", "warning")
    logging.getLogger("haven.core").info("quiet")
    assert stream.getvalue() == ""
