"""What answers teach about costs: each provider's tokenizer, and who holds which prompt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from router.catalog import ModelCard
from router.cost import Usage
from router.decision import Decision
from router.token_ratio import TokenRatios
from server.gateway.output_lengths import OutputLengths
from server.gateway.prompt_cache import Prefixes, PromptCaches


class Learned:
    """Of this process; lost with it, and learnt again within minutes."""

    def __init__(self) -> None:
        self._ratios: dict[str, TokenRatios] = {}
        self._caches = PromptCaches()
        self.lengths = OutputLengths()

    def answered(
        self,
        card: ModelCard,
        usage: Usage,
        counted: int,
        caller: str,
        body: Mapping[str, Any],
        *,
        marked: bool = False,
        prefixes: Prefixes | None = None,
    ) -> None:
        """usage: as reported; counted: the input tokens by our own tokenizer, 0 where they are not
        of text alone and what a provider makes of them says nothing of its tokenizer. marked: its
        provider holds only what the request marks, and says so in the usage. prefixes: see
        `prefixes`."""
        if counted > 0:
            known = self._ratios.get(card.provider)
            if known is None:
                known = self._ratios[card.provider] = TokenRatios()
            known.observed(caller, counted, usage.prompt_tokens)
        if (
            not marked
            or usage.cached_tokens + usage.cache_write_tokens > 0
            or (usage.cache_write_1h_tokens > 0)
        ):
            self._caches.answered(caller, body, card.name, usage.prompt_tokens, prefixes)

    def wrote(self, caller: str, decision: Decision, tokens: int, effort: str) -> None:
        """How many tokens the answers of a request had, thoughts included."""
        request, cap = decision.request, decision.max_output_tokens
        if decision.model not in request.thought_tokens:
            return  # the checkpoint predicts the length of an answer without thoughts
        caps = [one for one in (request.shape.max_output_tokens, cap) if one is not None]
        n, limit = request.shape.n, min(caps, default=math.inf)
        own = (c for c in decision.candidates if c.card.name == decision.model)
        expected = next((c.expected_output_tokens for c in own), 0.0)
        if tokens >= n * limit or expected >= limit:
            return  # it was cut off: how long it would have been nobody knows
        factor = request.length_factors.get(decision.model, 1.0)
        self.lengths.observe(caller, decision.model, effort, expected / factor, tokens / n)

    def input_tokens(
        self, cards: Iterable[ModelCard], estimated: int, caller: str
    ) -> dict[str, int]:
        """Catalogue name -> tokens, where the provider's count differs from ours."""
        other = {}
        for name, ratio in self._ratios.items():
            count = ratio.corrected(caller, estimated)
            if count != estimated:
                other[name] = count
        if not other:
            return {}
        return {card.name: other[card.provider] for card in cards if card.provider in other}

    def prefixes(self, caller: str, body: Mapping[str, Any]) -> Prefixes:
        """What tells the prompt again, found out beforehand where that takes long."""
        return self._caches.prefixes(caller, body)

    def cached_tokens(
        self, caller: str, body: Mapping[str, Any], prefixes: Prefixes | None = None
    ) -> dict[str, int]:
        """Catalogue name -> tokens of this prompt that its provider should hold."""
        return self._caches.cached_tokens(caller, body, prefixes)
