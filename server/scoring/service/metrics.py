"""The service's metrics. Each app has a registry: two apps in a process do not mix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08),
    *(0.16, 0.32, 0.64, 1.3, 2.6, 5.0, 10.0, 30.0),
)
_COUNTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS: Final = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


class ServiceMetrics:
    """An Observer of the scorer, and the counters of HTTP requests."""

    def __init__(self, n_waiting: Callable[[], float]) -> None:
        """n_waiting: read at each scrape."""
        self._registry = CollectorRegistry()
        self._queue = self._histogram(
            "queue_seconds", "Seconds that a prompt waits for its batch to start.", _SECONDS
        )
        self._tokenise = self._histogram(
            "tokenise_seconds", "Seconds to turn a prompt into tokens.", _SECONDS
        )
        self._inference = self._histogram(
            "inference_seconds", "Seconds that the engine computes a batch.", _SECONDS
        )
        self._batch = self._histogram("batch_prompts", "Number of prompts in a batch.", _COUNTS)
        self._tokens = self._histogram("batch_tokens", "Number of tokens in a batch.", _TOKENS)
        self._prompt = self._histogram(
            "prompt_tokens", "Number of tokens that are read of a prompt.", _TOKENS
        )
        self._spared = self._counter(
            "spared", "Prompts that did not have to be scored, by reason.", "how"
        )
        self._refused = self._counter(
            "refused", "Prompts that were refused because the queue was full."
        )
        self._requests = self._counter("requests", "Answers, by route and status.", "route", "code")
        gauge = Gauge(
            "p2l_model_waiting", "Prompts that wait for an answer.", registry=self._registry
        )
        gauge.set_function(n_waiting)

    def tokenised(self, seconds: float, n_tokens: int) -> None:
        """Records that a prompt became n_tokens ids."""
        self._tokenise.observe(seconds)
        self._prompt.observe(n_tokens)

    def waited(self, seconds: float) -> None:
        """Records that a prompt left the queue."""
        self._queue.observe(seconds)

    def inferred(self, seconds: float, n_prompts: int, n_tokens: int) -> None:
        """Records that the engine scored a batch."""
        self._inference.observe(seconds)
        self._batch.observe(n_prompts)
        self._tokens.observe(n_tokens)

    def spared(self, how: str) -> None:
        """Records that a prompt was not scored: it was `cached`, it `joined` an equal one in
        progress, or its callers `left`."""
        self._spared.labels(how).inc()

    def refused(self) -> None:
        """Records that a prompt found the queue full."""
        self._refused.inc()

    def answered(self, route: str, status: int) -> None:
        """Counts an answer. route: one of ours, never a caller's input: the number of labels must
        stay small."""
        self._requests.labels(route, str(status)).inc()

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"p2l_model_{name}", what, buckets=buckets, registry=self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"p2l_model_{name}", what, labels, registry=self._registry)
