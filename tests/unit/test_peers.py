from itertools import islice
from random import Random

import pytest

from haven.ha.peers import DeathJudge, Dialled, LinkEnd, LinkTiming, Quiet, pauses, split_address

GONE = [Dialled.REFUSED, Dialled.OTHER_RUN]


@pytest.fixture
def judge() -> DeathJudge:
    judge = DeathJudge()
    judge.established()
    return judge


@pytest.mark.parametrize("found", GONE)
@pytest.mark.parametrize("how", [LinkEnd.EOF, LinkEnd.RESET])
def test_link_that_ended_and_a_definite_word_afterwards_are_death(
    judge: DeathJudge, how: LinkEnd, found: Dialled
) -> None:
    judge.ended(how)
    assert judge.dialled(judge.dialling(), found)
    assert judge.dead


@pytest.mark.parametrize("found", list(Dialled))
@pytest.mark.parametrize("how", [LinkEnd.LOST, LinkEnd.BROKEN, LinkEnd.GOODBYE, LinkEnd.CLOSED])
def test_link_that_ended_otherwise_proves_nothing(judge: DeathJudge, how: LinkEnd, found: Dialled) -> None:
    judge.ended(how)
    assert not judge.dialled(judge.dialling(), found)


@pytest.mark.parametrize("found", GONE)
def test_refusal_while_the_link_stands_or_before_there_was_one_proves_nothing(
    judge: DeathJudge, found: Dialled
) -> None:
    assert not judge.dialled(judge.dialling(), found)
    never = DeathJudge()
    assert not never.dialled(never.dialling(), found)


def test_try_begun_before_the_link_ended_does_not_count(judge: DeathJudge) -> None:
    begun = judge.dialling()
    judge.ended(LinkEnd.EOF)
    assert not judge.dialled(begun, Dialled.REFUSED)
    assert judge.dialled(judge.dialling(), Dialled.REFUSED)


def test_timeouts_between_the_end_and_the_refusal_hide_nothing(judge: DeathJudge) -> None:
    judge.ended(LinkEnd.EOF)
    for _ in range(5):
        assert not judge.dialled(judge.dialling(), Dialled.NOTHING)
    assert judge.dialled(judge.dialling(), Dialled.REFUSED)


def test_new_link_to_the_same_run_takes_the_suspicion_back(judge: DeathJudge) -> None:
    judge.ended(LinkEnd.RESET)
    begun = judge.dialling()
    judge.established()
    assert not judge.dialled(begun, Dialled.REFUSED)
    assert not judge.dialled(judge.dialling(), Dialled.REFUSED)


def test_quiet_counts_time_in_which_this_process_ran() -> None:
    quiet = Quiet(now=10.0, step=0.1)
    for tick in range(1, 11):
        quiet.tick(10.0 + tick * 0.1)
    assert quiet.seconds(11.0) == pytest.approx(1.0)
    quiet.heard(11.0)
    assert quiet.seconds(11.05) == pytest.approx(0.05)


def test_quiet_does_not_count_a_pause_of_this_process() -> None:
    quiet = Quiet(now=10.0, step=0.1)
    quiet.tick(25.0)
    assert quiet.seconds(25.0) == pytest.approx(0.1)


def test_pauses_grow_to_a_bound_with_some_chance_and_allow_several_tries_in_80_ms() -> None:
    timing = LinkTiming()
    found = list(islice(pauses(timing.urgent_retry, timing.most_retry, Random(1)), 40))
    assert sum(found[:5]) < 0.06
    assert max(found) <= timing.most_retry
    assert min(found[20:]) >= timing.most_retry / 2
    assert found != list(islice(pauses(timing.urgent_retry, timing.most_retry, Random(2)), 40))


@pytest.mark.parametrize("address", ["haven-1:8201", "https://haven-1:8201", "tcp://haven-1:8201/"])
def test_address_is_read_with_and_without_a_scheme(address: str) -> None:
    assert split_address(address) == ("haven-1", 8201)


@pytest.mark.parametrize("address", ["", "haven-1", "https://haven-1", ":8201", "haven-1:port", "h:99999"])
def test_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"host|port|Port"):
        split_address(address)
