"""Sends alerts about budgets while the application runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.accounts.windows import unwatched
from server.alerts.watching import BudgetAlerts
from server.process.background import beside
from server.state import State


@asynccontextmanager
async def budgets_watched(state: State) -> AsyncIterator[None]:
    """Within this context, a receiver is told of budgets that are nearly spent, where one is
    configured."""
    alerts = BudgetAlerts(
        lambda: state.settings.alerts,
        lambda: state.gateway.accounts,
        state.store,
        on_sent=state.observer.metrics.alerted,
    )
    state.gateway.accounts.watch = alerts.watch
    async with beside(alerts.run()):
        yield
    state.gateway.accounts.watch = unwatched
