import pytest
from hypothesis import given
from hypothesis import strategies as st

from haven.ha.lease import Lease, PassChain
from haven.ha.timing import Timing, UnsafeTiming

TIMING = Timing()


def test_lease_counts_from_before_the_pass_was_sent() -> None:
    chain = PassChain(last=10.0).passed(sent=10.3, replied=10.6, timing=TIMING)
    assert Lease.granted(chain, TIMING).until == pytest.approx(10.3 + 1.2)


def test_reply_after_the_previous_pass_ran_out_breaks_the_chain_for_good() -> None:
    late = PassChain(last=10.0).passed(sent=10.3, replied=11.2, timing=TIMING)
    assert late.broken
    assert late.passed(sent=11.3, replied=11.31, timing=TIMING).broken


def test_chain_is_unsound_once_its_last_pass_ran_out_even_without_a_reply() -> None:
    chain = PassChain(last=10.0)
    assert chain.sound(11.19, TIMING)
    assert not chain.sound(11.2, TIMING)


def test_lapsed_lease_is_never_extended() -> None:
    lease = Lease(until=11.2)
    fresh = PassChain(last=11.1)
    assert lease.confirmed(fresh, sent=11.15, now=11.2, timing=TIMING) == lease
    assert lease.confirmed(fresh, sent=11.15, now=11.19, timing=TIMING).until == pytest.approx(12.3)


def test_read_sent_before_the_pass_confirms_only_up_to_itself() -> None:
    lease = Lease(until=11.2).confirmed(PassChain(last=10.5), sent=10.2, now=10.6, timing=TIMING)
    assert lease.until == pytest.approx(11.4)


def test_broken_chain_extends_nothing() -> None:
    lease = Lease(until=11.2)
    assert lease.confirmed(PassChain(last=11.0, broken=True), sent=11.0, now=11.05, timing=TIMING) == lease


@given(st.lists(st.tuples(st.floats(0.01, 3), st.floats(0.0, 3)), max_size=30))
def test_a_valid_lease_always_ends_before_the_check_can_expire(steps: list[tuple[float, float]]) -> None:
    """The check lives `check_ttl` from when Consul received a pass: never before it was sent."""
    now, chain = 0.0, PassChain(last=0.0)
    lease = Lease.granted(chain, TIMING)
    last_received = 0.0
    for pause, trip in steps:
        sent = now + pause
        now = sent + trip
        expired_unseen = sent >= last_received + TIMING.check_ttl
        chain = chain.passed(sent, now, TIMING)
        lease = lease.confirmed(chain, now, now, TIMING)
        if expired_unseen:
            assert not lease.holds(now)
            return
        last_received = sent
        assert lease.until <= last_received + TIMING.check_ttl - TIMING.margin + 1e-9


@pytest.mark.parametrize(
    ("values", "inequality"),
    [
        ({"margin": 0.8}, "margin < check_ttl / 2"),
        ({"beat": 0.9}, "beat + call_deadline < check_ttl - margin"),
        ({"call_deadline": 0.0}, "call_deadline > 0"),
    ],
)
def test_unsafe_timing_is_refused_with_its_inequality(values: dict[str, float], inequality: str) -> None:
    with pytest.raises(UnsafeTiming, match=inequality.replace("+", r"\+")):
        Timing(**values)
