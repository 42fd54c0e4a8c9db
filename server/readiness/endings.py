"""Finds models that are no longer sold, or soon will not be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from server.config.configured_facts import facts_of_model
from server.config.settings import ModelSettings, Settings
from server.model_facts.book import Book
from server.model_facts.types import Retirement

_AHEAD: Final = timedelta(days=60)


def endings(settings: Settings, today: date, book: Book) -> Iterator[str]:
    """A sentence for each model that has ended, or will end within 60 days: where it is sold, or at
    its vendor, which other sellers often follow."""
    for name, model in settings.models.items():
        provider = settings.providers[model.provider]
        if provider.kind == "sandbox":
            continue
        facts = facts_of_model(name, model, provider, book)
        ends = facts.retirement
        if ends is not None:
            if ends.on <= today + _AHEAD:
                yield _at_its_seller(name, model, ends, today)
        elif facts.vendor_retirement is not None and model.retired != "allow":
            ends = facts.vendor_retirement
            if ends.on <= today + _AHEAD:
                yield _at_its_vendor(name, model, ends, today)


def _at_its_seller(name: str, model: ModelSettings, ends: Retirement, today: date) -> str:
    use = _use(ends)
    if ends.on > today:
        what = "another model will answer in its place" if ends.redirected else "it is retired"
        return f"models.{name}: {what} on {ends.on}, in {_days(ends, today)}: {use} before then"
    if model.retired == "allow":
        return (
            f"models.{name}: it was retired on {ends.on}, and it is still used (retired: allow): "
            f"{use}"
        )
    return (
        f"models.{name}: it was retired on {ends.on} and is no longer used: {use}, or set "
        f"models.{name}.retired: allow"
    )


def _at_its_vendor(name: str, model: ModelSettings, ends: Retirement, today: date) -> str:
    when = f"ended it on {ends.on}" if ends.on <= today else f"ends it on {ends.on}"
    return (
        f"models.{name}: its vendor {when}, and the provider {model.provider} may do the same: "
        f"ask the provider how long the model is served, or {_use(ends)}"
    )


def _use(ends: Retirement) -> str:
    if ends.successor is None:
        return "configure another model"
    return f"configure its successor, {ends.successor}"


def _days(ends: Retirement, today: date) -> str:
    days = (ends.on - today).days
    return "1 day" if days == 1 else f"{days} days"
