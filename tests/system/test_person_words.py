"""What is scored is what a person said: on every surface, and with no less to tell prompts by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from wrapped_turns import WRAPPED

from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.types import Conversation, FloatArray
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.messages.request import parse_messages_request
from server.surfaces.responses.request import parse_responses_request

QUESTIONS = (
    "Write a haiku about autumn rain.",
    "Prove that there are infinitely many primes.",
    "The tests of parser.py fail since the last commit. Find out why, and mend it.",
    "What is the capital of Australia?",
    "Translate to French: the cheque is in the post, and the dog has eaten the receipt.",
)


def chat(parts: Sequence[str]) -> Conversation:
    content = [{"type": "text", "text": part} for part in parts]
    return parse_chat_request(body(messages=turns(content))).conversation


def messages(parts: Sequence[str]) -> Conversation:
    content: list[dict[str, Any]] = [{"type": "text", "text": part} for part in parts]
    document = {"type": "text", "media_type": "text/plain", "data": "An attached file."}
    content.append({"type": "document", "source": document})
    asked = body(messages=turns(content)[1:], max_tokens=9)
    return parse_messages_request(asked).conversation


def responses(parts: Sequence[str]) -> Conversation:
    content = [{"type": "input_text", "text": part} for part in parts]
    return parse_responses_request(body(input=turns(content))).conversation


def turns(content: object) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "An agent."}, {"role": "user", "content": content}]


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "p2l", **fields}


@pytest.mark.parametrize("surface", [chat, messages, responses])
@pytest.mark.parametrize("client", WRAPPED)
def test_every_surface_scores_a_persons_words(surface: Any, client: str) -> None:
    for question in QUESTIONS:
        assert surface(WRAPPED[client](question)) == Conversation((question,))


def test_a_result_and_a_reminder_are_no_turn_of_the_messages_api() -> None:
    call = {"type": "tool_use", "id": "a", "name": "read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "a file"}
    reminder = {"type": "text", "text": "<system-reminder>\nGo on.\n</system-reminder>"}
    history = [
        {"role": "user", "content": "Question"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, reminder]},
    ]
    asked = parse_messages_request(body(messages=history, max_tokens=9))
    assert asked.conversation == Conversation(("Question",))


class Scores:
    """The mean win rates of the bundled checkpoint."""

    def __init__(self) -> None:
        self._checkpoint = load_checkpoint(resolve_checkpoint("bundled"))
        self._engine = load_engine(self._checkpoint)

    def win_rates(self, conversation: Conversation) -> FloatArray:
        """(M,) against all others."""
        ids = self._checkpoint.prompt.encode(conversation)
        board = self._checkpoint.leaderboard(self._engine.features([ids])[0])
        strengths = board.coefficients
        against = 1.0 / (1.0 + np.exp(strengths[None, :] - strengths[:, None]))
        rates: FloatArray = against.mean(axis=1)
        return rates

    def spread(self, conversations: Sequence[Conversation]) -> float:
        """How far apart the win rates of a model are over the conversations, on average."""
        rates = np.stack([self.win_rates(one) for one in conversations])
        return float(np.mean(rates.max(axis=0) - rates.min(axis=0)))


@pytest.fixture(scope="module")
def scores() -> Scores:
    return Scores()


@pytest.fixture(scope="module")
def bare(scores: Scores) -> float:
    spread = scores.spread([Conversation((question,)) for question in QUESTIONS])
    assert spread > 0.02
    return spread


@pytest.mark.parametrize("client", WRAPPED)
def test_the_wrapping_does_not_level_the_scores(scores: Scores, bare: float, client: str) -> None:
    spread = scores.spread([chat(WRAPPED[client](question)) for question in QUESTIONS])
    assert abs(spread - bare) <= 0.1 * bare


def test_scored_as_it_comes_the_wrapping_would_level_them(scores: Scores, bare: float) -> None:
    wrapped = ["\n".join(WRAPPED["Claude Code"](question) * 3) for question in QUESTIONS]
    assert scores.spread([Conversation((text,)) for text in wrapped]) < 0.9 * bare
