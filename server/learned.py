"""What answers teach about costs: each provider's tokenizer, and who holds which prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from router.catalog import ModelCard
from router.cost import Usage
from router.token_ratio import TokenRatio
from server.prompt_cache import PromptCaches


class Learned:
    """Of this process; lost with it, and learnt again within minutes."""

    def __init__(self) -> None:
        self._ratios: dict[str, TokenRatio] = {}
        self._caches = PromptCaches()

    def answered(
        self, card: ModelCard, usage: Usage, estimated: int, caller: str, body: Mapping[str, Any]
    ) -> None:
        """usage: as reported; estimated: our own count of the input tokens."""
        known = self._ratios.get(card.provider, TokenRatio())
        self._ratios[card.provider] = known.observed(estimated, usage.prompt_tokens)
        self._caches.answered(caller, body, card.name, usage.prompt_tokens)

    def input_tokens(self, cards: Iterable[ModelCard], estimated: int) -> dict[str, int]:
        """Catalogue name -> tokens, where the provider's count differs from ours."""
        counts = {name: ratio.corrected(estimated) for name, ratio in self._ratios.items()}
        other = {name: count for name, count in counts.items() if count != estimated}
        if not other:
            return {}
        return {card.name: other[card.provider] for card in cards if card.provider in other}

    def cached_tokens(self, caller: str, body: Mapping[str, Any]) -> dict[str, int]:
        """Catalogue name -> tokens of this prompt that its provider should hold."""
        return self._caches.cached_tokens(caller, body)
