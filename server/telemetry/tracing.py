"""OTLP traces, where telemetry.otlp_endpoint is set: a request's steps as spans, without content.

A request is a SERVER span. Under it are `read` (admission, the key and the body), `plan`, `score`,
`decide`, one CLIENT span per attempt named `chat MODEL` with the attributes of OpenTelemetry's
semantic conventions for generative AI, and `answer` (from the provider's first byte to the last one
that the caller was sent).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from p2l_model.errors import ExtraMissingError
from server.config.settings import ProviderSettings
from server.gateway.routed_request import Exchange
from server.ledger.attempt import Attempt, Outcome, usd
from server.telemetry import gen_ai
from server.telemetry.trace_export import build_exporter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_MS: Final = 1_000_000
_S: Final = 1_000_000_000


class Trace(Protocol):
    """The trace of one request. A step ends where it is named; the first begins with the
    request."""

    def hop(self, name: str) -> None:
        """Ends the step of this name, which began at the end of the previous one."""

    def planned(self, request_id: str) -> None:
        """From now on, attempts of this request belong to this trace."""

    def decided(self, exchange: Exchange) -> None:
        """Called when the last decision is made: score and decide become steps."""

    def end(self, status: int) -> None:
        """Called when the last byte is sent."""


class NoTrace:
    """Does nothing, where tracing is off."""

    def hop(self, name: str) -> None:
        """Does nothing."""

    def planned(self, request_id: str) -> None:
        """Does nothing."""

    def decided(self, exchange: Exchange) -> None:
        """Does nothing."""

    def end(self, status: int) -> None:
        """Does nothing."""


NO_TRACE: Final = NoTrace()


class Traces:
    """Begins traces, and adds the attempts that the ledger settles."""

    def begin(self, path: str, headers: Mapping[str, str]) -> Trace:  # noqa: ARG002
        """The trace of a new request. headers: may hold the caller's traceparent."""
        return NO_TRACE

    def follow(self, providers: Mapping[str, ProviderSettings]) -> None:
        """Called when the configuration's providers are known, and when they have changed."""

    def decided(self, exchange: Exchange) -> None:
        """Called when the last decision on an exchange has been made."""

    def settled(self, row: Attempt) -> None:
        """Called when an attempt is settled."""

    def close(self) -> None:
        """Sends the spans that wait. Blocks, for some seconds at most."""


class OtlpTraces(Traces):
    """Traces that are sent in the background; those that cannot be sent are dropped, and requests
    never wait."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("p2l-router")
        self._parents = TraceContextTextMapPropagator()
        self._active: dict[str, _Spans] = {}
        self._names: Mapping[str, str] = {}

    def follow(self, providers: Mapping[str, ProviderSettings]) -> None:
        self._names = gen_ai.provider_names(providers)

    def begin(self, path: str, headers: Mapping[str, str]) -> Trace:
        from opentelemetry.trace import SpanKind

        parent = self._parents.extract(dict(headers))
        root = self._tracer.start_span(f"POST {path}", parent, SpanKind.SERVER)
        root.set_attributes({"http.request.method": "POST", "http.route": path})
        return _Spans(self._tracer, root, path, self._active)

    def decided(self, exchange: Exchange) -> None:
        spans = self._active.get(exchange.plan.request_id)
        if spans is not None:
            spans.decided(exchange)

    def settled(self, row: Attempt) -> None:
        spans = self._active.get(row.request_id)
        if spans is not None:
            spans.attempted(row, self._names.get(row.provider, row.provider))

    def close(self) -> None:
        self._provider.shutdown()


class _Spans:
    """The spans of one request. active: the traces that attempts may belong to, by request."""

    def __init__(self, tracer: Any, root: Span, path: str, active: dict[str, _Spans]) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer = tracer
        self._root = root
        self._path = path
        self._active = active
        self._context = set_span_in_context(root)
        self._request_id: str | None = None
        self._last = time.time_ns()

    def hop(self, name: str) -> None:
        now = time.time_ns()
        self._span(name, self._last, now)
        self._last = now

    def planned(self, request_id: str) -> None:
        self._request_id = request_id
        self._active[request_id] = self
        self._root.set_attribute("p2l.request_id", request_id)
        self.hop("plan")

    def decided(self, exchange: Exchange) -> None:
        began, timings, plan = self._last, exchange.timings, exchange.plan
        scored = began + int(timings.score_ms * _MS)
        if plan.routed:
            self._span("score", began, scored).set_attribute("p2l.scoring", plan.scoring)
        self._span("decide", scored, scored + int(timings.decide_ms * _MS))
        decision = exchange.decision
        self._root.set_attributes(
            {
                "p2l.model": decision.model,
                "p2l.win_rate": decision.win_rate,
                "p2l.attempts": exchange.attempts,
                **_amount("p2l.expected_cost_usd", decision.expected_cost_usd),
                **_amount("p2l.budget_usd", decision.budget_usd),
            }
        )
        self._last = time.time_ns()

    def attempted(self, row: Attempt, provider: str) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        operation = gen_ai.operation(self._path)
        began = int(row.started_at * _S)
        span = self._tracer.start_span(
            f"{operation} {row.upstream_model}", self._context, SpanKind.CLIENT, start_time=began
        )
        span.set_attributes({gen_ai.OPERATION: operation, **_attributes(row, provider)})
        if row.outcome is not Outcome.ANSWERED:
            span.set_attribute(gen_ai.ERROR_TYPE, row.outcome.value)
            span.set_status(StatusCode.ERROR)
        span.end(began + int((row.latency_ms or 0.0) * _MS))

    def end(self, status: int) -> None:
        from opentelemetry.trace import StatusCode

        if self._request_id is not None:
            self._active.pop(self._request_id, None)
            self.hop("answer")
        self._root.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._root.set_status(StatusCode.ERROR)
        self._root.end()

    def _span(self, name: str, began: int, ended: int) -> Span:
        span: Span = self._tracer.start_span(name, self._context, start_time=began)
        span.end(max(began, ended))
        return span


def build_traces(endpoint: str | None) -> Traces:
    """The traces. endpoint: the base URL of an OTLP/HTTP receiver; None: no traces. Raises
    ExtraMissingError, or ConfigError for an unusable proxy."""
    if endpoint is None:
        return Traces()
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        url = endpoint.rstrip("/")
        url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
        exporter = build_exporter(url)
    except ImportError as error:
        raise ExtraMissingError("opentelemetry", "otel") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "p2l-router"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OtlpTraces(provider)


def _attributes(row: Attempt, provider: str) -> dict[str, Any]:
    return {
        **gen_ai.attributes(row, provider),
        "p2l.attempt": row.attempt,
        "p2l.model": row.model,
        "p2l.provider": row.provider,
        "p2l.cost_source": row.cost_source.value,
        **_amount("p2l.cost_usd", None if row.cost_pico is None else usd(row.cost_pico)),
    }


def _amount(name: str, amount: Any) -> dict[str, float]:
    return {} if amount is None else {name: float(amount)}
