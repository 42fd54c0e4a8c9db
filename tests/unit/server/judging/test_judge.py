"""A judge sees two texts and no names, and its verdict is read without trust."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from router.catalog import ModelCard, Prices
from server.judging.judge import (
    combined,
    family_of,
    instruction,
    judge_body,
    judge_for,
    verdict_of,
    winner_of,
)

PRICES = Prices(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(1))


def card(name: str, capabilities: frozenset[str] | None = None) -> ModelCard:
    return ModelCard(
        name=name,
        provider="main",
        upstream_model=name,
        leaderboard_name=name,
        prices=PRICES,
        capabilities=capabilities,
    )


def test_the_judge_sees_no_names() -> None:
    messages = [{"role": "user", "content": "Say hi"}]
    body = judge_body(messages, ("Hi", "Hello"), card("gpt-6-sol"), 300)
    assert "gpt" not in json.dumps(body)
    assert json.loads(body["messages"][1]["content"]) == {
        "request": "Say hi", "first_answer": "Hi", "second_answer": "Hello",
    }  # fmt: skip
    assert body["max_completion_tokens"] == 300
    assert "response_format" not in body


def test_a_judge_that_can_is_held_to_the_schema() -> None:
    able = card("gpt-6-sol", frozenset({"json_schema"}))
    body = judge_body([{"role": "user", "content": "x"}], ("a", "b"), able, 300)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["better"]["enum"] == ["first", "second", "tie"]
    assert schema["additionalProperties"] is False


def test_a_conversation_is_shown_whole() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "image_url"}]},
    ]
    body = judge_body(messages, ("a", "b"), card("x"), 1)
    asked = json.loads(body["messages"][1]["content"])["request"]
    assert asked == "[system]\nBe brief.\n\n[user]\nA\n[not text]"


def test_the_instruction_has_a_version() -> None:
    assert instruction().version == "1"
    assert "version" not in instruction().text[:20]
    assert '"better"' in instruction().text


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ('{"reason": "x", "better": "first"}', 1.0),
        ('Sure:\n```json\n{"reason": "x", "better": "second"}\n```', 0.0),
        ('{"better" : "tie"}', 0.5),
        ('{"reason": "\\"better\\": first", "better": "second"}', 0.0),
        ('{"better": "third"}', None),
        ("I cannot decide.", None),
        ("", None),
    ],
)
def test_verdicts(said: str, value: float | None) -> None:
    assert verdict_of(said) == value


def test_verdicts_that_flip_with_the_order_are_a_tie() -> None:
    assert combined(1.0, 0.0) == combined(0.0, 1.0) == combined(0.5, 0.5) == 0.5
    assert [winner_of(one) for one in (1.0, 0.75, 0.5, 0.25, 0.0)] == [
        "model_a", "model_a", "tie", "model_b", "model_b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [("gpt-6-sol", "o3-mini"), ("gemini-4-argon", "gemma-3-27b-it"), ("qwen3-max", "qwq-32b")],
)
def test_families(one: str, other: str) -> None:
    assert family_of(card(one)) == family_of(card(other)) != family_of(card("claude-opus-5"))


def test_no_judge_of_its_own_family_where_another_is_there() -> None:
    families = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
    assert judge_for("c1", "b1", ["a1", "b1"], families) == "a1"
    assert judge_for("a2", "b1", ["a1", "b1", "c1"], families) == "c1"
    assert judge_for("a2", "b1", ["a1", "b1"], families) == "b1"  # of the reference's, at least
    assert judge_for("a2", "a1", ["a1"], families) == "a1"  # none is there
