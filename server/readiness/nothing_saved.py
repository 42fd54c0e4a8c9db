"""Notices a configuration under which cost never counts, so that nothing is saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from router.catalog import ModelCard
from server.config.settings import Settings


def nothing_saved(settings: Settings, catalogue: Sequence[ModelCard]) -> Iterator[str]:
    """A sentence where a request that states no budget goes to the best model whatever it costs,
    although models of different prices can be chosen."""
    rules = settings.routing
    if rules.budget_usd is not None or rules.usd_per_win is not None:
        return
    if rules.constraints is not None or rules.window_budgets:
        return
    able = [card for card in catalogue if card.retired is None]
    prices = {
        (card.prices.input_usd_per_mtok, card.prices.output_usd_per_mtok)
        for card in able
        if card.prices is not None
    }
    if len(prices) > 1:
        yield (
            "neither routing.usd_per_win nor routing.budget_usd is set: a request without a budget "
            "always goes to the best model, and nothing is saved. `p2l-router init` suggests "
            "values"
        )
