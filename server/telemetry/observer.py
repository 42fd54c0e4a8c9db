"""Who is told what happens to requests: metrics, traces, the log."""

from __future__ import annotations

from dataclasses import dataclass

from server.gateway.routed_request import Exchange
from server.ledger.attempt import Attempt
from server.telemetry.logs import log_attempt
from server.telemetry.metrics import GatewayMetrics
from server.telemetry.tracing import Traces


@dataclass(frozen=True, slots=True)
class Observer:
    """One per app; it outlives a reload."""

    metrics: GatewayMetrics
    traces: Traces

    def decided(self, exchange: Exchange) -> None:
        """An exchange is over, as far as deciding goes."""
        self.metrics.decided(exchange)
        self.traces.decided(exchange)

    def settled(self, row: Attempt) -> None:
        """An attempt is over."""
        self.metrics.settled(row)
        self.traces.settled(row)
        log_attempt(row)
