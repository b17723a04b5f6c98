from haven.storage.agent_order import GOOD_SECONDS, PROBE_SECONDS, AgentOrder


def order() -> AgentOrder[str]:
    return AgentOrder(["one", "two", "three"])


def test_agent_that_fails_goes_to_the_back_and_the_one_that_failed_last_is_the_last() -> None:
    agents = order()
    agents.failed("one", 100.0)
    assert agents.best_first() == ("two", "three", "one")
    agents.failed("two", 100.1)
    assert agents.best_first() == ("three", "one", "two")
    agents.failed("one", 100.2)
    assert agents.best_first() == ("three", "two", "one")


def test_agent_returns_to_its_place_when_it_has_answered_for_a_while() -> None:
    agents = order()
    agents.failed("one", 100.0)
    assert not agents.answered("one", 103.0)
    assert not agents.answered("one", 103.0 + GOOD_SECONDS - 0.1)
    assert agents.best_first() == ("two", "three", "one")
    assert agents.answered("one", 103.0 + GOOD_SECONDS)
    assert agents.best_first() == ("one", "two", "three")
    assert not agents.answered("one", 200.0)


def test_time_alone_proves_nothing_and_each_failure_begins_the_proof_anew() -> None:
    agents = order()
    agents.failed("one", 100.0)
    assert not agents.answered("one", 500.0)
    agents.failed("one", 505.0)
    assert not agents.answered("one", 500.0 + GOOD_SECONDS)
    assert agents.answered("one", 500.0 + 2 * GOOD_SECONDS)


def test_outage_begins_once_however_often_the_agent_fails_in_it() -> None:
    agents = order()
    assert [agents.failed("one", 100.0 + second) for second in range(3)] == [True, False, False]
    assert agents.failed("two", 103.0)
    agents.answered("one", 104.0)
    agents.answered("one", 104.0 + GOOD_SECONDS)
    assert agents.failed("one", 130.0)


def test_agent_that_was_set_back_is_probed_now_and_then() -> None:
    agents = order()
    assert agents.to_probe(99.0) is None
    agents.failed("one", 100.0)
    assert agents.to_probe(100.1) is None
    assert agents.to_probe(100.0 + PROBE_SECONDS) == "one"
    assert agents.to_probe(100.0 + PROBE_SECONDS) is None
    assert agents.to_probe(100.0 + 2 * PROBE_SECONDS) == "one"


def test_agent_that_is_asked_anyway_is_not_probed() -> None:
    agents = AgentOrder(["only"])
    agents.failed("only", 100.0)
    assert agents.to_probe(200.0) is None
