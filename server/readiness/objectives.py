"""Checks before serving whether the configured objectives can be predicted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from router.catalog import ModelCard
from router.objective import Objective, is_known
from server.build import known_to
from server.config.file import ConfigError
from server.config.settings import RoutingRules, RoutingSettings, Settings

if TYPE_CHECKING:
    from server.scoring.client.knowledge import Knowledge

# Every leaderboard has this one.
_ALWAYS: Final = Objective.WIN_RATE


def check_objectives(
    settings: Settings, catalogue: Sequence[ModelCard], environ: Mapping[str, str] = os.environ
) -> None:
    """Raises ConfigError, which names the field whose objective the scorer cannot predict. Where no
    model service answers yet, or it does not say, only requests will show it."""
    asked = [place for place in _places(settings.routing) if place[1].objective != _ALWAYS]
    known = known_to(settings.scorer, environ) if asked else None
    if known is None:
        return
    for field, rules in asked:
        lacking = _lacking(rules, known, catalogue)
        if lacking is not None:
            raise ConfigError(f"{field}.objective: {lacking}")


def _places(routing: RoutingSettings) -> Iterator[tuple[str, RoutingRules]]:
    yield "routing", routing
    for name in routing.profiles:
        yield f"routing.profiles.{name}", routing.rules(name)


def _lacking(rules: RoutingRules, known: Knowledge, catalogue: Sequence[ModelCard]) -> str | None:
    """What is missing and how to fix it; None where nothing is missing."""
    if rules.objective is Objective.P_GOOD:
        if is_known(Objective.P_GOOD, known.marginal):
            return None
        return (
            "p_good needs a checkpoint of family grk or ba, and the one of scorer is of family "
            f"{known.marginal.family}: set scorer.checkpoint to one, or choose win_rate"
        )
    if known.scored is None:
        return None
    models = [
        card
        for card in catalogue
        if rules.models is None or not {card.name, card.base}.isdisjoint(rules.models)
    ]
    if any(card.leaderboard_name in known.scored for card in models):
        return None
    return (
        "expected_score needs a scorer that predicts graded scores, and this one predicts none for "
        f"{', '.join(card.name for card in models)}: train a checkpoint on their scores "
        "(`p2l-router train`) and set scorer.checkpoint, or choose win_rate or p_good"
    )
