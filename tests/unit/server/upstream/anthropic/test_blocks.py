"""Odd messages become turns that the provider takes, and no exception."""

from __future__ import annotations

from typing import Any

import pytest

from server.adapting.stand_ins import CONTINUE, EMPTY
from server.model_facts import Thinking
from server.upstream.anthropic.blocks import system_and_turns
from server.upstream.anthropic.native import without_lost_thinking
from server.upstream.dialect import InexpressibleError

ASKED, SAID = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
NOTHING = [{"role": "user", "content": [{"type": "text", "text": EMPTY}]}]


def own(_: object) -> None:
    return None


@pytest.mark.parametrize("content", [" ", "\n", [{"type": "text", "text": " "}]])
def test_a_user_who_says_nothing_has_a_turn(content: Any) -> None:
    _, turns = system_and_turns([{"role": "user", "content": content}], own)
    assert turns == NOTHING


def test_an_assistant_alone_cannot_be_expressed() -> None:
    with pytest.raises(InexpressibleError):
        system_and_turns([ASKED, {**SAID, "prefix": True}], own)


def test_after_an_answer_the_user_speaks() -> None:
    _, turns = system_and_turns([ASKED, SAID], own)
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[-1]["content"] == [{"type": "text", "text": CONTINUE}]


@pytest.mark.parametrize("kind", [[], {}, 1, None, ["enabled"]])
def test_thinking_of_no_kind_stays_for_the_provider_to_refuse(kind: Any) -> None:
    body = {"thinking": {"type": kind}, "messages": []}
    assert without_lost_thinking(body, Thinking()) is body
