"""Models whose requests are adapted alike, so that it is done once for all of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from server.model_facts import ModelFacts


def alike(facts: Mapping[str, ModelFacts]) -> dict[str, int]:
    """Catalogue name -> a number that is the same for models whose requests are adapted alike."""
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
