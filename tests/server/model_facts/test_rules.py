"""Each cell of the rules, pinned."""

from __future__ import annotations

from typing import Any

import pytest

from server.model_facts import ModelFacts, facts_of


def cell(facts: ModelFacts, path: str) -> Any:
    value: Any = facts
    for part in path.split("."):
        value = getattr(value, part)
    return value


SAMPLING_REFUSED = ("temperature", "top_p", "penalties", "logprobs", "logit_bias")


@pytest.mark.parametrize(
    ("model", "path", "value"),
    [
        ("gpt-6.1-sol", "tools.on_chat_completions", "refused"),
        ("gpt-6-luna", "tools.on_chat_completions", "only_at_none"),
        ("gpt-5.4", "tools.on_chat_completions", "not_with_effort"),
        ("claude-opus-5-5", "thinking.off", "cannot"),
        ("claude-sonnet-5-5", "thinking.off", "between_tools"),
        ("claude-sonnet-4-5", "sampling.both", False),
        ("gemini-2.5-pro", "schemas.with_tools", False),
        ("mistral-large-4", "tools.id_pattern", "^[a-zA-Z0-9]{9}$"),
    ],
)
def test_cells(model: str, path: str, value: object) -> None:
    assert cell(facts_of(model), path) == value


def test_a_model_of_no_known_family_refuses_nothing() -> None:
    facts = facts_of("nobody-7b")
    assert facts.known == "nothing"
    assert facts.capabilities is None
    assert not any(facts.refuses(name, "high") for name in (*SAMPLING_REFUSED, "top_k", "stop"))
    assert facts.tools.on_chat("high")
