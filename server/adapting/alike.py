"""Groups models whose requests are adapted in the same way, so that it is done once for each
group."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from server.model_facts import ModelFacts


def alike(facts: Mapping[str, ModelFacts]) -> dict[str, int]:
    """Catalogue name -> a number that is equal for models whose requests are adapted in the same
    way."""
    numbers: dict[Hashable, int] = {}
    return {name: numbers.setdefault(_rules(one), len(numbers)) for name, one in facts.items()}


def _rules(facts: ModelFacts) -> Hashable:
    return (
        facts.vendor,
        facts.seller,
        facts.limits.max_output_tokens,
        facts.sampling,
        facts.thinking,
        facts.tools,
        facts.schemas,
        facts.messages,
    )
