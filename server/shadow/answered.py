"""A live request that was answered, and is to be answered again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2l_model.types import PromptLeaderboard
from router.catalog import ModelCard
from server.gateway.routed_request import Exchange
from server.shadow.consent import repeated_body


@dataclass(frozen=True, slots=True)
class Answered:
    """The request with its first answer. The repr shows neither.

    body: what is asked again, in the form of chat completions. card, text: the model that answered,
    and its answer. others: the models that could have answered, without any column of that one.
    board: the prompt's leaderboard. output_tokens: the length of the first answer, with thoughts.
    """

    request_id: str
    key_name: str
    card: ModelCard
    others: tuple[str, ...]
    board: PromptLeaderboard = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)
    output_tokens: int
    at_s: float


def answered(exchange: Exchange, body: Mapping[str, Any], text: str, now_s: float) -> Answered:
    """The request of an exchange that is over. body: in the form of chat completions; text: of its
    answer; now_s: seconds of a monotonic clock."""
    decision, plan = exchange.decision, exchange.plan
    usage = None if exchange.entry is None else exchange.entry.row.usage
    first = decision.card
    others = tuple(
        one.card.name
        for one in decision.candidates
        if one.reason is None and one.expected_cost_usd is not None and one.card.base != first.base
    )
    return Answered(
        plan.request_id,
        plan.caller.name,
        first,
        others,
        exchange.leaderboard,
        repeated_body(body),
        text,
        0 if usage is None else usage.completion_tokens,
        now_s,
    )
