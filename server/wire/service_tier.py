"""Service tiers: the parts of a request that change the price of every token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, get_args

# Tiers with other prices, by OpenAI's, Groq's and Anthropic's names.
Tier = Literal[
    "priority", "flex", "scale", "performance", "batch", "fast", "ultrafast", "us", "fast+us"
]
# Tiers with the normal price, by OpenAI's, Groq's and Anthropic's names.
_NORMAL: Final[Mapping[str, frozenset[str]]] = {
    "service_tier": frozenset({"auto", "default", "on_demand", "standard", "standard_only"}),
    "speed": frozenset({"standard"}),
    "inference_geo": frozenset({"global"}),
}
_NAMES: Final = frozenset(get_args(Tier))
_OTHER: Final = "other"


class _Leaves(Protocol):
    """The fit of a body: left_out has the names of the fields that are not sent."""

    @property
    def left_out(self) -> tuple[str, ...]: ...


def tier_of(body: Mapping[str, Any]) -> str | None:
    """The tier that a body asks for; None for the normal one. Unknown tiers are "other"."""
    if _NORMAL.keys().isdisjoint(body):
        return None
    asked = [name for name in (_dear(body.get(n), normal) for n, normal in _NORMAL.items()) if name]
    return _known("+".join(sorted(asked))) if asked else None


def other_tiers(
    body: Mapping[str, Any], tier: str | None, fits: Mapping[str, _Leaves]
) -> dict[str, str | None]:
    """The remaining tier by catalogue name, where the provider is not sent a field that sets the
    tier. tier: that of the body. fits: by catalogue name."""
    if tier is None:
        return {}
    return {
        name: tier_of({n: body[n] for n in _NORMAL if n in body and n not in fit.left_out})
        for name, fit in fits.items()
        if not _NORMAL.keys().isdisjoint(fit.left_out)
    }


def reported_tier(answer: Mapping[str, Any], before: str | None) -> str | None:
    """The tier that an answer, or a chunk of one, reports. before: the tier known until then."""
    said = answer.get("service_tier")
    if not isinstance(said, str) or said == "auto":
        return before
    return None if said in _NORMAL["service_tier"] else _known(said)


def _dear(value: object, normal: frozenset[str]) -> str | None:
    if value is None:
        return None
    name = value if isinstance(value, str) else _OTHER
    return None if name in normal else name


def _known(tier: str) -> str:
    return tier if tier in _NAMES else _OTHER
