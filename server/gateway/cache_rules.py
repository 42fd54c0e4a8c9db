"""For how long each model's provider will keep a request in its prompt cache.

It follows from the facts about the model and from what the request asks for. Of Anthropic's models
only what is marked is cached. At a provider of the Messages API the caller's marks count, and on
other surfaces the gateway sets them where a conversation is likely to go on. Any other provider
gets the marks that a body of chat completions has.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from router.catalog import ModelCard
from server.model_facts import ModelFacts
from server.model_facts.types import Caching
from server.surfaces.base import GatewayRequest
from server.wire.surface import Surface

# Where nothing else is known: how long a provider keeps a prompt, and the shortest one that it
# keeps.
USUAL_S: Final = 300
LEAST_TOKENS: Final = 1024
_TTL: Final = re.compile(r"(\d{1,4})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
# Of a conversation, only the latest turns are looked at: that is where marks move along.
_LATEST: Final = 3
# The gateway marks conversations from this many turns on.
_LEAST_TURNS: Final = 3
_UNKNOWN: Final = Caching()
_MOST_FOUND: Final = 256


class _Asked(NamedTuple):
    """What a request asks for, in seconds; 0 where it asks for nothing. step: how many of the
    shortest cached lengths it reaches. marked_s: by marks, at a provider of the Messages API;
    passed_s: by those that others get; retained_s: by OpenAI's fields."""

    step: int
    marked_s: int
    passed_s: int
    retained_s: int


class CacheRules:
    """The rules of a catalogue. facts: by catalogue name. others: the providers that do not speak
    the Messages API."""

    def __init__(
        self,
        catalogue: Iterable[ModelCard] = (),
        facts: Mapping[str, ModelFacts] | None = None,
        others: Collection[str] = (),
    ) -> None:
        known, cards = facts or {}, list(catalogue)
        self._passed = frozenset(card.name for card in cards if card.provider in others)
        self._rules = {
            card.name: known[card.name].caching if card.name in known else _UNKNOWN
            for card in cards
            if _is_priced(card)
        }
        # Catalogue names of the models whose cache a change of effort keeps.
        self.effort_keeps = frozenset(
            name for name, rule in self._rules.items() if rule.kept_at_other_effort == "yes"
        )
        # Also the columns: each has an effort of its own, whatever the request's is.
        self.effort_decides_not = self.effort_keeps.union(
            card.name for card in cards if card.effort is not None
        )
        self.marks_only = frozenset(
            name for name, facts in known.items() if facts.caching.kind == "marked"
        )
        self._steps = sorted({_least(rule) for rule in self._rules.values()})
        self._found: dict[_Asked, Mapping[str, int]] = {}

    def lifetimes(self, request: GatewayRequest, input_tokens: int) -> Mapping[str, int]:
        """For how many seconds the request will be kept, by catalogue name; models that do not keep
        it, or charge no other price for that, are missing. input_tokens: its length."""
        step = bisect_right(self._steps, input_tokens)
        if step == 0:
            return {}
        asked = _Asked(step, *_marked_s(request), _retained_s(request.native or request.body))
        found = self._found.get(asked)
        if found is None:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()  # callers choose what they ask for
            found = self._found[asked] = {
                name: seconds
                for name, rule in self._rules.items()
                if _least(rule) <= input_tokens
                and (seconds := _lifetime(rule, self._asked_s(name, rule, asked))) > 0
            }
        return found

    def _asked_s(self, model: str, rule: Caching, asked: _Asked) -> int:
        if rule.kind != "marked":
            return asked.retained_s
        return asked.passed_s if model in self._passed else asked.marked_s

    def usual_s(self, model: str) -> int:
        """For how many seconds the model's provider keeps a prompt that asks for nothing else."""
        rule = self._rules.get(model, _UNKNOWN)
        return rule.lifetimes_s[0] if rule.lifetimes_s else USUAL_S


def _is_priced(card: ModelCard) -> bool:
    """Whether a cache makes any difference to the model's prices."""
    prices = card.prices
    return prices is not None and (
        prices.cached_input_usd_per_mtok is not None or prices.cache_write_usd_per_mtok is not None
    )


def _least(rule: Caching) -> int:
    return LEAST_TOKENS if rule.least_tokens is None else rule.least_tokens


def _lifetime(rule: Caching, asked_s: int) -> int:
    """In seconds; 0 where the model's provider does not keep the request."""
    if rule.kind == "none" or (rule.kind == "marked" and asked_s == 0):
        return 0
    usual = rule.lifetimes_s[0] if rule.lifetimes_s else USUAL_S
    return max((one for one in rule.lifetimes_s if one <= asked_s), default=usual)


def _marked_s(request: GatewayRequest) -> tuple[int, int]:
    """The longest lifetimes in seconds that cache marks ask for, at a provider of the Messages API
    and at others; 0 without marks."""
    native = request.native if request.surface is Surface.MESSAGES else None
    body = request.body if native is None else native
    messages = body.get("messages") or ()
    own = max(map(_mark_s, _markable(body, messages)), default=0)
    if native is not None:
        return own, 0  # a body for others is made without its marks
    if own > 0:
        return own, own
    n_turns = len(messages) - bool(messages and messages[0].get("role") in ("system", "developer"))
    return (USUAL_S if body.get("tools") or n_turns >= _LEAST_TURNS else 0), 0


def _markable(body: Mapping[str, Any], messages: Sequence[Any]) -> Iterable[Any]:
    """The parts of a request that usually have marks."""
    yield body
    for listed in (body.get("tools"), body.get("system")):
        if isinstance(listed, list) and listed:
            yield listed[-1]
    for message in messages[-_LATEST:]:
        content = message.get("content")
        if isinstance(content, list) and content:
            yield content[-1]


def _mark_s(part: Any) -> int:
    mark = part.get("cache_control") if isinstance(part, dict) else None
    if not isinstance(mark, dict):
        return 0
    return _seconds(mark.get("ttl")) or USUAL_S


def _retained_s(body: Mapping[str, Any]) -> int:
    """How long the request asks OpenAI to keep its prompt, in seconds; 0 where it does not."""
    asked = body.get("prompt_cache_retention")
    options = body.get("prompt_cache_options")
    if asked is None and isinstance(options, dict):
        asked = options.get("ttl")
    return _seconds(asked)


def _seconds(ttl: object) -> int:
    found = _TTL.fullmatch(ttl) if isinstance(ttl, str) else None
    return 0 if found is None else int(found[1]) * _SECONDS[found[2]]
