"""Lets a second model answer, and a judge say which answer is better."""

from __future__ import annotations

import random
from typing import Final

from router.catalog import ModelCard
from server.auth.authenticator import Caller
from server.gateway.gateway import Gateway
from server.judging.judge import combined, family_of, instruction, judge_body, verdict_of
from server.shadow.answered import Answered
from server.shadow.calls import asked
from server.storage.grades import Grade, board_of

# A second answer may be this many times as long as the first one, and this much longer: what a day
# may cost must cover its upper bound. An answer that is cut off is not graded.
_TIMES: Final = 4
_MORE_TOKENS: Final = 4_096
_JUDGE_TOKENS: Final = 4_096


class NotComparedError(Exception):
    """There is no verdict. Its text is the reason, in one of a few words."""


async def compared(gateway: Gateway, caller: Caller, one: Answered, judge: str) -> Grade:
    """The verdict on a second model's answer against the first one. Raises NotComparedError,
    ApiError."""
    cards = gateway.planner.columns.names
    grader = cards.get(judge)
    if grader is None or family_of(grader) == family_of(one.card):
        raise NotComparedError("own_family")
    second = _second(one, [cards[name] for name in one.others if name in cards], grader)
    cap = _TIMES * one.output_tokens + _MORE_TOKENS
    body = {**one.body, "max_completion_tokens": cap}
    text = await asked(gateway, caller, second.name, body, "answer")
    if text is None:
        raise NotComparedError("no_answer")
    verdicts = []
    for pair in ((text, one.text), (one.text, text)):
        said = await asked(
            gateway,
            caller,
            judge,
            judge_body(one.body["messages"], pair, grader, _JUDGE_TOKENS),
            "judge",
        )
        verdict = None if said is None else verdict_of(said)
        if verdict is None:
            raise NotComparedError("no_verdict")
        verdicts.append(verdict)
    return Grade(
        id=f"shadow/{one.request_id}",
        source=f"judge:{grader.name}:{instruction().version}",
        model=second.name,
        model_b=one.card.name,
        score=combined(verdicts[0], 1.0 - verdicts[1]),
        key_name=one.key_name,
        leaderboard=board_of(one.board),
    )


def _second(one: Answered, others: list[ModelCard], grader: ModelCard) -> ModelCard:
    """One of the other models, by chance; none of the judge's family. Raises NotComparedError."""
    family = family_of(grader)
    open_to = [card for card in others if family_of(card) != family]
    if not open_to:
        raise NotComparedError("no_other_model")
    return random.Random(one.request_id).choice(open_to)
