"""Finds models without a price: a request with a cost limit is never sent to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from router.catalog import ModelCard
from server.catalogue.auto_models import takes_all
from server.config.columns import columns_of
from server.config.settings import Settings


def price_problems(settings: Settings, catalogue: Sequence[ModelCard]) -> Iterator[str]:
    """A sentence for each model without a price whose cost something in the configuration limits; a
    single one where no model has a price."""
    unpriced = _unpriced(catalogue)
    if (
        unpriced
        and all(card.prices is None for card in catalogue)
        and not _are_ones_own(settings, unpriced)
    ):
        yield (
            f"no model has a price, so every request with a budget is refused: {_fix(unpriced[0])}"
        )
        return
    for name in unpriced:
        field = _bounding(settings, name)
        if field is not None:
            yield (
                f"models.{name}: its price is unknown, so it is never used while {field} is set: "
                f"{_fix(name)}, or leave the model out"
            )


def price_warnings(settings: Settings, catalogue: Sequence[ModelCard]) -> Iterator[str]:
    """A sentence for each model without a price whose cost nothing in the configuration limits."""
    unpriced = _unpriced(catalogue)
    if (
        unpriced
        and all(card.prices is None for card in catalogue)
        and not _are_ones_own(settings, unpriced)
    ):
        return
    for name in unpriced:
        if _bounding(settings, name) is None:
            yield (
                f"models.{name}: its price is unknown, so a request with a budget never goes to "
                f"it, and its cost is not counted: {_fix(name)}"
            )


def _unpriced(catalogue: Sequence[ModelCard]) -> list[str]:
    """The models without a price; the columns of a model count as that model."""
    return list(dict.fromkeys(card.base for card in catalogue if card.prices is None))


def _fix(name: str) -> str:
    return (
        f"set models.{name}.input_usd_per_mtok and models.{name}.output_usd_per_mtok (0 where it "
        "costs nothing)"
    )


def _are_ones_own(settings: Settings, names: Sequence[str]) -> bool:
    """Whether they are models of the operator's own servers, which have no price list."""
    return all(takes_all(settings.providers[settings.models[name].provider]) for name in names)


def _bounding(settings: Settings, name: str) -> str | None:
    """The first field that limits the cost of requests to this model."""
    columns = columns_of(name, settings.models[name], settings.models)
    names = {name, *(column for column, _ in columns)}
    for field, models in _bounds(settings):
        if models is None or not names.isdisjoint(models):
            return field
    return None


def _bounds(settings: Settings) -> Iterator[tuple[str, Sequence[str] | None]]:
    """Yields (field, the models that it concerns; None: all)."""
    routing = settings.routing
    if routing.window_budgets:
        yield "routing.window_budgets", None
    if routing.sessions.budget_usd is not None:
        yield "routing.sessions.budget_usd", None
    places = {"routing": (routing, routing.models)} | {
        f"routing.profiles.{name}": (own, routing.rules(name).models)
        for name, own in routing.profiles.items()
    }
    for place, (rules, models) in places.items():
        for key in ("budget_usd", "usd_per_win"):
            if getattr(rules, key) is not None:
                yield f"{place}.{key}", models
    for caller in settings.auth.keys:
        for key in ("budget_usd", "usd_per_win", "max_request_usd", "session_budget_usd"):
            if getattr(caller, key) is not None:
                yield f"auth.keys.{caller.name}.{key}", caller.models
