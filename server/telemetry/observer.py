"""Passes on what happens to requests: to metrics, traces and the log."""

from __future__ import annotations

from dataclasses import dataclass

from server.gateway.routed_request import Exchange
from server.ledger.attempt import Attempt
from server.telemetry.logs import log_attempt
from server.telemetry.metrics import GatewayMetrics
from server.telemetry.tracing import Traces


@dataclass(frozen=True, slots=True)
class Observer:
    """The observer of one app; it outlives a reload."""

    metrics: GatewayMetrics
    traces: Traces

    def decided(self, exchange: Exchange) -> None:
        """Called when the last decision on an exchange has been made."""
        self.metrics.decided(exchange)
        self.traces.decided(exchange)

    def settled(self, row: Attempt) -> None:
        """Called when an attempt is settled."""
        self.metrics.settled(row)
        self.traces.settled(row)
        log_attempt(row)
