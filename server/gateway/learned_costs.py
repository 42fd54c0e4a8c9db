"""Learns about costs from answers: how each provider counts tokens, and which one caches which
prompt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from router.catalog import ModelCard
from router.cost import Usage
from router.decision import Decision
from router.token_ratio import TokenRatios
from server.gateway.cache_rules import USUAL_S
from server.gateway.output_lengths import OutputLengths
from server.gateway.prompt_cache import Prefixes, PromptCaches


class Learned:
    """What this process has learnt. It is lost when the process ends, and learnt again within
    minutes. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._ratios: dict[str, TokenRatios] = {}
        self.caches = PromptCaches(clock)
        # The hashes that identify a prompt, computed in advance where that takes long.
        self.prefixes = self.caches.prefixes
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
        kept_s: int = USUAL_S,
        effort: str = "",
    ) -> None:
        """Records the usage of an answer.

        usage: as reported. counted: input tokens by our own tokenizer; 0 where the input is not all
        text, so that the provider's count says nothing about its tokenizer. marked: the provider
        caches only what the request marks, and reports it in the usage. prefixes: the result of
        `prefixes`. kept_s: for how many seconds the provider keeps the prompt. effort: the
        request's.
        """
        if counted > 0:
            known = self._ratios.get(card.provider)
            if known is None:
                known = self._ratios[card.provider] = TokenRatios()
            known.observed(caller, counted, usage.prompt_tokens)
        if not marked or (
            usage.cached_tokens + usage.cache_write_tokens + usage.cache_write_1h_tokens > 0
        ):
            tokens = usage.prompt_tokens
            self.caches.answered(
                caller, body, card.name, tokens, prefixes, kept_s=kept_s, effort=effort
            )

    def wrote(self, caller: str, decision: Decision, tokens: int, effort: str) -> None:
        """Records how many tokens the answers to a request had, including thoughts. effort: the one
        that a model without columns was asked for."""
        request, cap = decision.request, decision.max_output_tokens
        if decision.model not in request.thought_tokens and decision.card.rests_on == "":
            return  # the checkpoint predicts the length of its own models' answers without thoughts
        caps = [one for one in (request.shape.max_output_tokens, cap) if one is not None]
        n, limit = request.shape.n, min(caps, default=math.inf)
        own = (c for c in decision.candidates if c.card.name == decision.model)
        expected = next((c.expected_output_tokens for c in own), 0.0)
        if tokens >= n * limit or expected >= limit:
            return  # the answer was cut off: its full length is unknown
        factor = request.length_factors.get(decision.model, 1.0)
        asked = effort if decision.card.effort is None else decision.card.effort
        self.lengths.observe(caller, decision.card.base, asked, expected / factor, tokens / n)

    def input_tokens(
        self, cards: Iterable[ModelCard], estimated: int, caller: str
    ) -> dict[str, int]:
        """Input tokens by catalogue name, for models whose provider counts differently from us."""
        other = {}
        for name, ratio in self._ratios.items():
            count = ratio.corrected(caller, estimated)
            if count != estimated:
                other[name] = count
        if not other:
            return {}
        return {card.name: other[card.provider] for card in cards if card.provider in other}

    def cached_tokens(
        self,
        caller: str,
        body: Mapping[str, Any],
        prefixes: Prefixes | None = None,
        effort: str = "",
        effort_keeps: Collection[str] = (),
    ) -> dict[str, int]:
        """Tokens of this prompt that each model's provider should hold, by catalogue name; see
        PromptCaches.cached_tokens."""
        return self.caches.cached_tokens(caller, body, prefixes, effort, effort_keeps)
