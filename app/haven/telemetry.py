"""What the node counts and measures, for Prometheus.

Every series, with its labels:

* `haven_role{role}`: 1 for the role the node has, 0 for the others.
* `vault_core_active`, `vault_core_unsealed`, `haven_initialised`: 0 or 1. The first two carry Vault's names,
  so that its dashboards and alerts work.
* `haven_term`: the term this node knows of; `haven_lease_remaining_seconds`: how long the node may still
  answer without another heartbeat, 0 where it may not.
* `haven_transitions_total` and `haven_last_transition_timestamp_seconds`, both with {from,to,reason}: changes
  of role. A change is over before the next scrape, so gauges miss it; the counter and the timestamp do not.
* `haven_hand_over_seconds`, `haven_take_over_seconds{road}`, `haven_activation_seconds`,
  `haven_refence_seconds{outcome}`: how long each step of a change of holder took.
* `haven_heartbeat_late_seconds`: how much later than planned the heartbeat ran: the loop's health.
* `haven_consul_call_seconds{operation,outcome}`: outcome is ok, refused, unknown or unavailable.
* `haven_http_request_duration_seconds{method,status}`: status is a class, such as `2xx`.
* `haven_forwarded_total{outcome}`, `haven_parked_wait_seconds{outcome}`, `haven_parked_requests`: requests
  that this node could not answer itself.
* `haven_fenced_total`: writes that the fence refused. `haven_cache_total{outcome}`: hit or miss.
* `haven_group_commit_members`, `haven_group_commit_seconds`: writes that shared one transaction.
* `haven_build_info{version}`, and the usual `process_*` and `python_*` series.

No label ever holds a path, a token, a name from a request or any other value from outside.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, PlatformCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from haven.clock import BootClock, Clock
from haven.version import VERSION

log = logging.getLogger("haven.telemetry")

ROLES = ("uninitialised", "sealed", "standby", "activating", "active")
ROADS = ("first", "hand-over", "release", "resign", "death", "expiry", "other", "alone")
LOSSES = ("lost", "lapsed", "resigned", "isolated", "step-down", "stopping", "sealed", "alone")
FORWARDED = ("ok", "not_active", "unknown", "refused")
REFENCED = ("committed", "refused", "unknown")
TRANSITIONS = (
    ("uninitialised", "sealed", ("initialised",)),
    ("sealed", "standby", ("unsealed",)),
    ("standby", "activating", ROADS),
    ("activating", "active", ROADS),
    ("active", "activating", ("lapsed", *ROADS)),
    ("activating", "standby", LOSSES),
    ("active", "standby", LOSSES),
    ("standby", "sealed", ("sealed",)),
    ("activating", "sealed", ("sealed",)),
    ("active", "sealed", ("sealed",)),
)
"""The changes that the design knows. Their counters start at 0: `increase()` cannot see a series appear."""

METHODS = frozenset({"GET", "HEAD", "LIST", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
MEMBERS = (1, 2, 4, 8, 16, 32, 63, 128)


@dataclass(frozen=True, slots=True)
class NodeSample:
    """The node's state at a scrape; `role` is one of `ROLES`."""

    role: str
    initialised: bool
    unsealed: bool
    active: bool
    term: int
    lease_remaining: float


class _NodeCollector(Collector):
    """Ask the node at each scrape, so that no gauge can be stale."""

    def __init__(self, sample: Callable[[], NodeSample]) -> None:
        self._sample = sample

    def describe(self) -> Iterable[Metric]:
        """Name the series without asking the node."""
        return _families(NodeSample("sealed", False, False, False, 0, 0.0))

    def collect(self) -> Iterable[Metric]:
        """Return the gauges, or none where the node cannot tell: a scrape must not fail for it."""
        try:
            return _families(self._sample())
        except Exception:
            log.exception("node cannot be sampled")
            return []


def _families(sample: NodeSample) -> list[Metric]:
    """Turn a sample into series."""
    role = GaugeMetricFamily("haven_role", "1 for the role that the node has.", labels=["role"])
    for name in ROLES:
        role.add_metric([name], float(name == sample.role))
    single = (
        ("vault_core_active", "Whether this node is active.", sample.active),
        ("vault_core_unsealed", "Whether this node is unsealed.", sample.unsealed),
        ("haven_initialised", "Whether the cluster is initialised.", sample.initialised),
        ("haven_term", "The term that this node knows of.", sample.term),
        (
            "haven_lease_remaining_seconds",
            "Time for which this node may still answer.",
            sample.lease_remaining,
        ),
    )
    return [role, *(GaugeMetricFamily(name, text, value=float(value)) for name, text, value in single)]


class Telemetry:
    """The series of one node, in a registry of its own. Every method is cheap and never raises."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock or BootClock()
        self._define_process()
        self._define_leadership()
        self._define_requests()
        self._define_storage()

    def observe_node(self, sample: Callable[[], NodeSample]) -> None:
        """Feed the node's gauges from `sample`, called at each scrape: from memory, at once."""
        self.registry.register(_NodeCollector(sample))

    def transition(self, before: str, after: str, reason: str) -> None:
        """Count a change of role and note its time."""
        self._transitions.labels(before, after, reason).inc()
        self._last_transition.labels(before, after, reason).set(self._clock.wall())

    def handed_over(self, seconds: float) -> None:
        """Record how long this node took to give the lock to another, from the request to the commit."""
        self._hand_over.observe(seconds)

    def took_over(self, road: str, seconds: float) -> None:
        """Record how long this node took from seeing the lock obtainable to answering."""
        self._take_over.labels(road).observe(seconds)

    def activated(self, seconds: float) -> None:
        """Record how long loading what a holder needs took."""
        self._activation.observe(seconds)

    def refenced(self, outcome: str, seconds: float) -> None:
        """Record how a move of the lock to this node's spare session ended."""
        self._refence.labels(outcome).observe(seconds)

    def heartbeat(self, late_seconds: float) -> None:
        """Record how much later than planned a heartbeat ran."""
        self._heartbeat.observe(late_seconds)

    def consul_call(self, operation: str, outcome: str, seconds: float) -> None:
        """Record one Consul call; outcome is ok, refused, unknown or unavailable."""
        self._consul.labels(operation, outcome).observe(seconds)

    def forwarded(self, outcome: str) -> None:
        """Count a request sent on to the active node."""
        self._forwarded.labels(outcome).inc()

    def parked(self, outcome: str, seconds: float) -> None:
        """Record how long a request waited for a node that may answer, and how that ended."""
        self._parked.labels(outcome).observe(seconds)

    def parking(self, count: int) -> None:
        """Set how many requests wait now."""
        self._parking.set(count)

    def fenced(self) -> None:
        """Count a write that the fence refused."""
        self._fenced.inc()

    def cache(self, outcome: str) -> None:
        """Count a hit or a miss."""
        self._cache[outcome].inc() if outcome in self._cache else self._caches.labels(outcome).inc()

    def group_commit(self, members: int, seconds: float) -> None:
        """Record one shared transaction."""
        self._members.observe(members)
        self._commits.observe(seconds)

    def http(self, method: str, status: int, seconds: float) -> None:
        """Record one answered request; unknown methods share a label, since clients choose them."""
        known = method if method in METHODS else "other"
        self._http.labels(known, f"{status // 100}xx").observe(seconds)

    def _define_process(self) -> None:
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._gauge("haven_build_info", "The version that runs.", "version").labels(VERSION).set(1)

    def _define_leadership(self) -> None:
        change = ("from", "to", "reason")
        self._transitions = self._counter("haven_transitions", "Changes of role.", *change)
        for before, after, reasons in TRANSITIONS:
            for reason in reasons:
                self._transitions.labels(before, after, reason)
        self._last_transition = self._gauge(
            "haven_last_transition_timestamp_seconds", "When the role last changed so.", *change
        )
        self._hand_over = self._histogram("haven_hand_over_seconds", "Giving the lock to another.", SLOW)
        self._take_over = self._histogram("haven_take_over_seconds", "Obtainable to answering.", SLOW, "road")
        for road in ROADS:
            self._take_over.labels(road)
        self._activation = self._histogram("haven_activation_seconds", "Loading what a holder needs.", SLOW)
        self._refence = self._histogram(
            "haven_refence_seconds", "Moves to the spare session.", SLOW, "outcome"
        )
        for outcome in REFENCED:
            self._refence.labels(outcome)
        self._heartbeat = self._histogram("haven_heartbeat_late_seconds", "Lateness of heartbeats.", FAST)

    def _define_requests(self) -> None:
        self._http = self._histogram(
            "haven_http_request_duration_seconds", "HTTP requests.", FAST, "method", "status"
        )
        self._forwarded = self._counter("haven_forwarded", "Requests sent on to the active node.", "outcome")
        for outcome in FORWARDED:
            self._forwarded.labels(outcome)
        self._parked = self._histogram(
            "haven_parked_wait_seconds", "Waits for an active node.", SLOW, "outcome"
        )
        self._parking = self._gauge("haven_parked_requests", "Requests that wait now.")

    def _define_storage(self) -> None:
        self._consul = self._histogram(
            "haven_consul_call_seconds", "Consul calls.", FAST, "operation", "outcome"
        )
        self._fenced = self._counter("haven_fenced", "Writes that the fence refused.")
        self._caches = self._counter("haven_cache", "Reads by whether the cache held them.", "outcome")
        self._cache = {outcome: self._caches.labels(outcome) for outcome in ("hit", "miss")}
        self._members = self._histogram("haven_group_commit_members", "Writes in one transaction.", MEMBERS)
        self._commits = self._histogram("haven_group_commit_seconds", "Shared transactions.", FAST)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)
