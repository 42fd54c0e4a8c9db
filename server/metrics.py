"""The gateway's metrics. A registry per app; labels are names of the configuration, never what a
caller typed, no prompt, no key and no key's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.exchange import Exchange
from server.ledger.attempt import PICO, Attempt

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
_TOKEN_KINDS: Final = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


class GatewayMetrics:
    """Counts as things happen; what is a state is read when somebody asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answers, by route and status.", "route", "code")
        self._hops = self._histogram("hop_seconds", "Time in score, decide and upstream.", "hop")
        self._decisions = self._counter(
            "decisions", "Routed requests, by the model in force at the end and what scored them.",
            "model", "scoring",
        )  # fmt: skip
        self._attempts = self._counter(
            "attempts", "Attempts at providers, by outcome.", "model", "provider", "outcome"
        )
        self._attempt_s = self._histogram("attempt_seconds", "From sent to settled.", "provider")
        self._tokens = self._counter("tokens", "Tokens, by kind.", "model", "kind")
        self._cost = self._counter(
            "cost_usd", "Spend, by what it rests on: usage, estimate, none.", "model", "source"
        )
        # looking a child up costs more than counting with it
        self._child = lru_cache(maxsize=4096)(self._labelled)

    def answered(self, route: str, status: int) -> None:
        """route: one of ours."""
        self._child(self._requests, route, str(status)).inc()

    def decided(self, exchange: Exchange) -> None:
        """An exchange is over, as far as deciding goes."""
        timings = exchange.timings
        self._child(self._hops, "decide").observe(timings.decide_ms / 1000.0)
        if exchange.plan.routed:
            self._child(self._hops, "score").observe(timings.score_ms / 1000.0)
            self._child(self._decisions, exchange.decision.model, exchange.plan.scoring).inc()
        if exchange.attempts:
            self._child(self._hops, "upstream").observe(timings.upstream_ms / 1000.0)

    def settled(self, row: Attempt) -> None:
        """An attempt is over."""
        self._child(self._attempts, row.model, row.provider, row.outcome.value).inc()
        if row.latency_ms is not None:
            self._child(self._attempt_s, row.provider).observe(row.latency_ms / 1000.0)
        if row.cost_pico:
            self._child(self._cost, row.model, row.cost_source.value).inc(row.cost_pico / PICO)
        if row.usage is not None:
            for kind in _TOKEN_KINDS:
                n_tokens = getattr(row.usage, kind)
                if n_tokens:
                    self._child(self._tokens, row.model, kind).inc(n_tokens)

    def read(self, states: Callable[[], Iterable[Metric]]) -> None:
        """states: read at each scrape."""
        self._registry.register(_States(states))

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)

    def _labelled(self, metric: Counter | Histogram, *labels: str) -> Any:
        return metric.labels(*labels)

    def _histogram(self, name: str, what: str, *labels: str) -> Histogram:
        return Histogram(
            f"p2l_gateway_{name}", what, labels, buckets=_SECONDS, registry=self._registry
        )

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"p2l_gateway_{name}", what, labels, registry=self._registry)


class _States(Collector):
    def __init__(self, states: Callable[[], Iterable[Metric]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        yield from self._states()

    def describe(self) -> Iterator[Metric]:
        """Nothing before the app runs."""
        yield from ()


def gauge(
    name: str, what: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str
) -> Metric:
    """A state as it is now, for each set of labels."""
    family = GaugeMetricFamily(f"p2l_gateway_{name}", what, labels=labels)
    for labelled, value in values:
        family.add_metric(labelled, value)
    return family
