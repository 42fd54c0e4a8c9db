"""The gateway's metrics. Each app has a registry. Labels are names in the configuration, never a
caller's input, a prompt, a key or a key's name."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from operator import attrgetter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from server.gateway.routed_request import Exchange
from server.ledger.attempt import PICO, Attempt

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
_BOUNDS: Final = (*map(str, _SECONDS), "+Inf")
_TOKEN_KINDS: Final = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
_TOKEN_COUNTS: Final = attrgetter(*_TOKEN_KINDS)


class GatewayMetrics:
    """Counts events as they happen; states are read when the metrics are requested."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answers, by route and status.", "route", "code")
        self._hops = self._histogram(
            "hop_seconds", "Seconds spent in score, decide and upstream.", "hop"
        )
        self._decisions = self._counter(
            "decisions", "Routed requests, by the model that was chosen last and by what scored "
                         "them.",
            "model", "scoring",
        )  # fmt: skip
        self._sessions = self._counter(
            "session_requests",
            "Requests of sessions, by what decided them, as in x-p2l-kept.",
            "kept",
        )
        self._attempts = self._counter(
            "attempts", "Attempts at providers, by outcome.", "model", "provider", "outcome"
        )
        self._attempt_s = self._histogram(
            "attempt_seconds", "Seconds from sending an attempt to booking it.", "provider"
        )
        self._tokens = self._counter("tokens", "Tokens, by kind.", "model", "kind")
        self._cost = self._counter(
            "cost_usd",
            "Spend in USD, by what it rests on: usage, estimate or none.",
            "model",
            "source",
        )
        self._alerts = self._counter(
            "budget_alerts", "Alerts of budgets, by whether the receiver took them.", "outcome"
        )
        # (counter, labels) -> the count since the last scrape: a counter's own lock and checks cost
        # several times as much.
        self._counted: defaultdict[tuple[Counter, tuple[str, ...]], float] = defaultdict(float)

    def answered(self, route: str, status: int) -> None:
        """Counts an answer. route: one of ours."""
        self._counted[self._requests, (route, str(status))] += 1

    def decided(self, exchange: Exchange) -> None:
        """Counts the decisions of an exchange, once the last one is made."""
        timings = exchange.timings
        self._hops.observe("decide", timings.decide_ms / 1000.0)
        if exchange.plan.routed:
            self._hops.observe("score", timings.score_ms / 1000.0)
            self._counted[self._decisions, (exchange.decision.model, exchange.plan.scoring)] += 1
            if exchange.kept is not None:
                self._counted[self._sessions, (exchange.kept,)] += 1
        if exchange.attempts:
            self._hops.observe("upstream", timings.upstream_ms / 1000.0)

    def alerted(self, outcome: str) -> None:
        """Counts an alert of a budget. outcome: delivered or failed."""
        self._counted[self._alerts, (outcome,)] += 1

    def settled(self, row: Attempt) -> None:
        """Counts a settled attempt."""
        counted = self._counted
        counted[self._attempts, (row.model, row.provider, str(row.outcome))] += 1
        if row.latency_ms is not None:
            self._attempt_s.observe(row.provider, row.latency_ms / 1000.0)
        if row.cost_pico:
            counted[self._cost, (row.model, str(row.cost_source))] += row.cost_pico / PICO
        if row.usage is not None:
            for kind, n_tokens in zip(_TOKEN_KINDS, _TOKEN_COUNTS(row.usage), strict=True):
                if n_tokens:
                    counted[self._tokens, (row.model, kind)] += n_tokens

    def read(self, states: Callable[[], Iterable[Metric]]) -> None:
        """Sets the source of the states. states: called at each scrape."""
        self._registry.register(_States(states))

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        for (counter, labels), n in self._counted.items():
            counter.labels(*labels).inc(n)
        self._counted.clear()
        return generate_latest(self._registry)

    def _histogram(self, name: str, what: str, label: str) -> _Histogram:
        histogram = _Histogram(f"p2l_gateway_{name}", what, label)
        self._registry.register(histogram)
        return histogram

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"p2l_gateway_{name}", what, labels, registry=self._registry)


class _Times:
    """The observed times of one label."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.sum_s = 0.0


class _Histogram(Collector):
    """Times in seconds, by one label. The library's own histogram, with a lock for each bucket and
    checks for each observation, takes several times as long; this one is used only by the event
    loop's thread."""

    def __init__(self, name: str, what: str, label: str) -> None:
        self._name, self._what, self._label = name, what, label
        self._times: defaultdict[str, _Times] = defaultdict(_Times)

    def observe(self, label: str, seconds: float) -> None:
        times = self._times[label]
        times.counts[bisect_left(_SECONDS, seconds)] += 1
        times.sum_s += seconds

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._what, labels=[self._label])
        for label, times in self._times.items():
            upto = list(accumulate(times.counts))
            buckets = list(zip(_BOUNDS, upto, strict=True))
            family.add_metric([label], buckets, times.sum_s)
        yield family


class _States(Collector):
    def __init__(self, states: Callable[[], Iterable[Metric]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        yield from self._states()

    def describe(self) -> Iterator[Metric]:
        """Yields nothing: there are no metrics before the app runs."""
        yield from ()


def gauge(
    name: str, what: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str
) -> Metric:
    """A current state, for each set of labels."""
    family = GaugeMetricFamily(f"p2l_gateway_{name}", what, labels=labels)
    for labelled, value in values:
        family.add_metric(labelled, value)
    return family


def total(
    name: str, what: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str
) -> Metric:
    """A counter that is kept elsewhere, for each set of labels."""
    family = CounterMetricFamily(f"p2l_gateway_{name}", what, labels=labels)
    for labelled, value in values:
        family.add_metric(labelled, value)
    return family
