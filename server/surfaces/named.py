"""Records where each option of a request was set: in a header, a field or the configuration. Errors
name the place, so that the reader knows what to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.config.settings import RoutingSettings
from server.surfaces.routing_options import RoutingOptions

_RULES: Final = ("budget_usd", "objective", "opponents", "constraints")


def places(
    options: RoutingOptions, routing: RoutingSettings, profile: str | None
) -> Mapping[str, str]:
    """The place of each option or rule. profile: the routing profile; None where none is asked
    for."""
    configured = {rule: _configured(rule, routing, profile) for rule in _RULES}
    said = {rule: place for rule, place in configured.items() if place is not None}
    return {**said, **options.named}


def _configured(rule: str, routing: RoutingSettings, profile: str | None) -> str | None:
    own = None if profile is None else routing.profiles.get(profile)
    if own is not None and rule in own.model_fields_set:
        return f"routing.profiles.{profile}.{rule}"
    return f"routing.{rule}" if rule in routing.model_fields_set else None
