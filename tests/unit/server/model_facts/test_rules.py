"""Each cell of the rules, pinned."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from server.model_facts import EFFORTS, Effort, ModelFacts, facts_of
from server.model_facts.rules import FAMILIES

TO_MAX = ("low", "medium", "high", "xhigh", "max")
CLAUDE_ID = "^[a-zA-Z0-9_-]+$"
# use, off, efforts, the default one
THINKING: dict[str, tuple[str, str, tuple[str, ...] | None, str | None]] = {
    "gpt-6.1-sol": ("always", "cannot", TO_MAX, "medium"),
    "gpt-6-astra": ("always", "cannot", TO_MAX, "medium"),
    "gpt-6.1-terra": ("by_default", "none", ("none", *TO_MAX), "medium"),
    "gpt-6-sol": ("by_default", "none", ("none", *TO_MAX), "medium"),
    "gpt-6-luna": ("by_default", "none", ("none", *TO_MAX), "medium"),
    "gpt-5.6-sol": ("by_default", "none", ("none", *TO_MAX), "medium"),
    "gpt-5.6-terra": ("by_default", "none", ("none", *TO_MAX), "medium"),
    "gpt-5.6-luna": ("by_default", "none", ("none", *TO_MAX), "medium"),
    "gpt-5.5": ("by_default", "none", ("none", "low", "medium", "high", "xhigh"), "medium"),
    "gpt-5.5-pro": ("always", "cannot", ("medium", "high", "xhigh"), "medium"),
    "gpt-5.4": ("optional", "none", ("none", "low", "medium", "high", "xhigh"), "none"),
    "gpt-5.4-mini": ("optional", "none", ("none", "low", "medium", "high", "xhigh"), "none"),
    "gpt-5.3-chat-latest": ("always", "cannot", ("medium",), "medium"),
    "gpt-5.2": ("optional", "none", ("none", "low", "medium", "high", "xhigh"), "none"),
    "gpt-5.2-pro": ("always", "cannot", ("medium", "high", "xhigh"), "medium"),
    "gpt-5.1": ("optional", "none", ("none", "low", "medium", "high"), "none"),
    "gpt-5": ("always", "cannot", ("minimal", "low", "medium", "high"), "medium"),
    "gpt-5-mini-2025-08-07": ("always", "cannot", ("minimal", "low", "medium", "high"), "medium"),
    "gpt-5-pro": ("always", "cannot", ("high",), "high"),
    "gpt-5-chat-latest": ("never", "unknown", (), None),
    "gpt-4.1": ("never", "unknown", (), None),
    "gpt-4o": ("never", "unknown", (), None),
    "o3": ("always", "cannot", ("low", "medium", "high"), "medium"),
    "o4-mini": ("always", "cannot", ("low", "medium", "high"), "medium"),
    "gpt-oss-120b": ("always", "cannot", ("low", "medium", "high"), "medium"),
    "claude-opus-5-5": ("always", "cannot", TO_MAX, "high"),
    "claude-sonnet-5-5": ("by_default", "between_tools", TO_MAX, "high"),
    "claude-haiku-5-5": ("by_default", "disabled", TO_MAX, "high"),
    "claude-fable-5-2": ("always", "cannot", TO_MAX, "high"),
    "claude-fable-5": ("always", "cannot", TO_MAX, "high"),
    "claude-opus-5": ("by_default", "disabled", TO_MAX, "high"),
    "claude-sonnet-5": ("by_default", "disabled", TO_MAX, "high"),
    "claude-opus-4-8": ("optional", "omitted", TO_MAX, "high"),
    "claude-opus-4-7": ("optional", "omitted", TO_MAX, "high"),
    "claude-opus-4-6": ("optional", "omitted", ("low", "medium", "high", "max"), "high"),
    "claude-sonnet-4-6": ("optional", "omitted", ("low", "medium", "high", "max"), "high"),
    "claude-opus-4-5": ("optional", "omitted", ("low", "medium", "high"), "high"),
    "claude-sonnet-4-5": ("optional", "omitted", (), None),
    "claude-haiku-4-5": ("optional", "omitted", (), None),
    "claude-3-5-haiku-20241022": ("never", "unknown", (), None),
    "gemini-3.8-flash": ("always", "cannot", ("low", "medium", "high"), None),
    "gemini-3.5-flash-lite": ("always", "cannot", ("minimal", "low", "medium", "high"), None),
    "gemini-3.1-pro-preview": ("always", "cannot", ("low", "medium", "high"), "high"),
    "gemini-4-argon": ("always", "cannot", ("low", "medium", "high"), None),
    "gemini-2.5-pro": ("always", "cannot", None, None),
    "gemini-2.5-flash": ("by_default", "zero_budget", None, None),
    "gemini-2.5-flash-lite": ("optional", "zero_budget", None, None),
    "gemini-2.0-flash": ("never", "unknown", (), None),
    "grok-4.7": ("always", "cannot", ("low", "medium", "high", "xhigh"), None),
    "grok-4.6": ("always", "cannot", ("low", "medium", "high"), None),
    "grok-4.3": ("by_default", "none", ("none", "low", "medium", "high"), None),
    "grok-4.20-non-reasoning": ("never", "unknown", (), None),
    "deepseek-v4-pro": ("by_default", "disabled", ("low", "high", "max"), None),
    "deepseek-v4-flash": ("by_default", "disabled", ("low", "high", "max"), None),
    "kimi-k3.1-pro": ("always", "cannot", ("low", "high", "max"), None),
    "kimi-k2.6": ("by_default", "disabled", None, None),
    "mistral-large-4": ("optional", "none", ("none", "high"), "none"),
    "mistral-medium-3-5": ("optional", "none", ("none", "high"), "none"),
    "mistral-small-latest": ("optional", "none", ("none", "high"), "none"),
    "mistral-large-2512": ("never", "unknown", (), None),
    "glm-5.3": ("always", "cannot", ("low", "high", "max"), None),
    "glm-5.1": ("by_default", "disabled", (), None),
    "qwen3.8-max": ("by_default", "toggle", None, None),
}


@pytest.mark.parametrize("model", THINKING)
def test_how_each_model_thinks(model: str) -> None:
    thinking = facts_of(model).thinking
    said = (thinking.use, thinking.off, thinking.efforts, thinking.default_effort)
    assert said == THINKING[model]


# Sampling's fields that are refused, at an effort of none and at one of high.
ALL_SIX = {"temperature", "top_p", "top_k", "penalties", "logprobs", "logit_bias"}
REASONING = ALL_SIX | {"stop"}
SAMPLING: dict[str, tuple[set[str], set[str]]] = {
    "gpt-6.1-sol": (REASONING, REASONING),
    "gpt-6-luna": ({"top_k"}, REASONING),
    "gpt-5.6-terra": ({"top_k"}, REASONING),
    "gpt-5.5": ({"top_k"}, REASONING),
    "gpt-5.4": ({"top_k", "stop"}, REASONING),
    "gpt-5": (REASONING, REASONING),
    "o3": (REASONING, REASONING),
    "gpt-4.1": ({"top_k"}, {"top_k"}),
    "gpt-4o": ({"top_k"}, {"top_k"}),
    "gpt-oss-120b": (set(), set()),
    "claude-opus-5-5": (ALL_SIX, ALL_SIX),
    "claude-haiku-5-5": (ALL_SIX, ALL_SIX),
    "claude-sonnet-5": (ALL_SIX, ALL_SIX),
    "claude-opus-4-7": (ALL_SIX, ALL_SIX),
    "claude-opus-4-6": ({"penalties", "logprobs", "logit_bias"}, ALL_SIX),
    "claude-sonnet-4-5": ({"penalties", "logprobs", "logit_bias"}, ALL_SIX),
    "claude-3-haiku-20240307": (
        {"penalties", "logprobs", "logit_bias"},
        {"penalties", "logprobs", "logit_bias"},
    ),
    "gemini-3.8-flash": (
        {"temperature", "top_p", "top_k", "penalties", "logit_bias"},
        {"temperature", "top_p", "top_k", "penalties", "logit_bias"},
    ),
    "gemini-3.1-pro-preview": ({"penalties", "logit_bias"}, {"penalties", "logit_bias"}),
    "gemini-4-argon": ({"penalties", "logit_bias"}, {"penalties", "logit_bias"}),
    "gemini-2.5-flash": ({"penalties", "logit_bias"}, {"penalties", "logit_bias"}),
    "grok-4.7": ({"penalties", "stop"}, {"penalties", "stop"}),
    "grok-4.3": (set(), {"penalties", "stop"}),
    "deepseek-v4-pro": (set(), set()),
    "kimi-k3.1-pro": ({"temperature", "top_p", "penalties"}, {"temperature", "top_p", "penalties"}),
    "mistral-large-4": ({"logprobs", "logit_bias"}, {"logprobs", "logit_bias"}),
    "glm-5.3": (set(), set()),
    "qwen3.8-max": (set(), set()),
}


def refused(facts: ModelFacts, effort: Effort) -> set[str]:
    names = {one.name for one in fields(facts.sampling)} - {"both", "most_temperature"}
    return {name for name in names if facts.refuses(name, effort)}


@pytest.mark.parametrize("model", SAMPLING)
def test_which_sampling_each_model_refuses(model: str) -> None:
    facts = facts_of(model)
    assert (refused(facts, "none"), refused(facts, "high")) == SAMPLING[model]


def cell(facts: ModelFacts, path: str) -> Any:
    value: Any = facts
    for part in path.split("."):
        value = getattr(value, part)
    return value


# path -> value -> models
CELLS: dict[str, dict[Any, tuple[str, ...]]] = {
    "sampling.both": {
        False: ("claude-sonnet-4-5", "claude-opus-4-1", "claude-sonnet-4-6", "claude-opus-4-5"),
        True: ("claude-sonnet-4", "claude-3-haiku", "gpt-4o", "gemini-2.5-pro", "grok-4.7"),
    },
    "sampling.most_temperature": {
        1.0: ("claude-sonnet-4-5", "claude-3-haiku"),
        1.5: ("mistral-large-4",),
        2.0: ("gpt-4o", "gemini-2.5-pro"),
    },
    "tools.on_chat_completions": {
        "refused": ("gpt-6.1-sol", "gpt-6-astra", "gpt-6-rosalind"),
        "only_at_none": ("gpt-6.1-terra", "gpt-6-sol", "gpt-6-luna", "gpt-5.6-sol", "gpt-5.6-luna"),
        "not_with_effort": ("gpt-5.5", "gpt-5.4", "gpt-5.4-mini"),
        "ok": ("gpt-5.2", "gpt-5", "gpt-4.1", "o3", "gpt-oss-120b", "grok-4.7", "claude-opus-5-5"),
    },
    "tools.forced": {
        "refused": (
            "claude-opus-5-5",
            "claude-sonnet-5-5",
            "claude-fable-5-1",
            "claude-fable-5-2",
            "claude-mythos-5-1",
            "kimi-k3.1-pro",
        ),
        "not_when_thinking": (
            "claude-sonnet-4-5",
            "claude-haiku-4-5",
            "claude-sonnet-4-6",
            "deepseek-v4-pro",
            "qwen3.8-max",
        ),
        "ok": ("claude-haiku-5-5", "claude-opus-5", "claude-fable-5", "claude-opus-4-8", "gpt-5"),
    },
    "tools.id_pattern": {
        CLAUDE_ID: ("claude-opus-5-5", "claude-3-haiku"),
        "^[a-zA-Z0-9]{9}$": ("mistral-large-4", "codestral-2508"),
        None: ("gpt-6.1-sol", "gemini-3.8-flash", "deepseek-v4-pro"),
    },
    "tools.ids_unique": {True: ("claude-opus-5-5", "mistral-large-4"), False: ("gpt-5",)},
    "tools.id_most_characters": {40: ("gpt-6.1-sol", "gpt-4o"), 9: ("mistral-large-4",)},
    "tools.name_most_characters": {
        64: ("gpt-6.1-sol", "gemini-3.8-flash", "mistral-large-4", "kimi-k3.1-pro"),
        128: ("claude-opus-5-5",),
        None: ("glm-5.3",),
    },
    "tools.parallel_field": {False: ("o3", "o4-mini"), True: ("gpt-5", "gpt-4o")},
    "tools.deferred": {
        False: ("claude-opus-4-1", "claude-sonnet-4", "claude-3-7-sonnet-20250219"),
        True: ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-5-5"),
    },
    "tools.most": {128: ("gpt-6.1-sol", "gemini-3.8-flash", "grok-4.7"), None: ("claude-opus-5",)},
    "schemas.with_tools": {
        False: ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.0-flash"),
        True: ("gemini-3.8-flash", "gemini-4-argon", "gpt-5", "claude-opus-5-5"),
    },
    "schemas.strict_needs_all_required": {True: ("gpt-6.1-sol", "gpt-4o"), False: ("grok-4.7",)},
    "schemas.strict_needs_closed": {True: ("gpt-6.1-sol", "claude-opus-5-5"), False: ("grok-4.7",)},
    "schemas.most_min_items": {1: ("claude-opus-5-5",), None: ("gpt-5",)},
    "schemas.inline_references": {True: ("glm-5.3",), False: ("glm-5.2", "gpt-5")},
    "messages.system_later": {
        "ok": (
            "claude-opus-5-5",
            "claude-sonnet-5-5",
            "claude-haiku-5-5",
            "claude-fable-5-2",
            "claude-opus-4-8",
            "gpt-5",
        ),
        "ignored": ("claude-sonnet-5",),
        "refused": ("claude-opus-4-7", "claude-sonnet-4-6", "claude-haiku-4-5", "gemini-3.8-flash"),
        "unknown": ("mistral-large-4", "deepseek-v4-pro"),
    },
    "messages.prefill": {
        False: ("claude-opus-5-5", "claude-sonnet-4-6", "claude-opus-4-7", "claude-haiku-5-5"),
        True: ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5", "gpt-5"),
    },
    "messages.user_most_characters": {64: ("gpt-6.1-sol", "gpt-4o"), None: ("claude-opus-5-5",)},
    "messages.cap_field": {
        "max_completion_tokens": ("gpt-6.1-sol", "gpt-5", "o3"),
        None: ("gpt-4o", "gpt-oss-120b", "grok-4.7"),
    },
    "caching.kind": {
        "both": ("gpt-6.1-sol", "gpt-5.6-luna"),
        "automatic": ("gpt-5.5", "gpt-4o", "gemini-3.8-flash", "deepseek-v4-pro", "grok-4.7"),
        "marked": ("claude-opus-5-5", "claude-haiku-4-5"),
    },
    "caching.lifetimes_s": {
        (1800, 43200): ("gpt-6.1-sol", "gpt-5.6-luna"),
        (300,): ("gpt-5.5", "gpt-4o"),
        (300, 3600): ("claude-opus-5-5",),
        (): ("gemini-3.8-flash", "deepseek-v4-pro"),
    },
    "caching.kept_at_other_effort": {
        "marker": (
            "gpt-6.1-sol",
            "gpt-6-luna",
            "claude-opus-5-5",
            "claude-opus-5",
            "claude-sonnet-5-5",
            "claude-haiku-5-5",
            "claude-fable-5-1",
        ),
        "no": ("gpt-5.6-sol", "claude-fable-5", "claude-opus-4-8", "gemini-3.8-flash"),
    },
    "thinking.bound_to_prefix": {
        True: ("claude-fable-5-1", "claude-fable-5-2", "claude-opus-5-5", "claude-haiku-5-5"),
        False: ("claude-fable-5", "claude-mythos-5-1", "claude-opus-5", "claude-sonnet-5", "gpt-5"),
    },
    "thinking.tool_turns_need_thoughts": {
        True: ("claude-opus-5-5", "deepseek-v4-pro", "gemini-3.8-flash", "kimi-k3.1-pro"),
        False: ("gpt-6.1-sol", "gemini-2.5-pro", "grok-4.7", "claude-3-haiku"),
    },
    "thinking.most_effort_when_off": {
        "high": ("claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5"),
        None: ("claude-opus-5-5", "claude-opus-4-8", "claude-sonnet-5"),
    },
    "thinking.on_responses_only": {
        frozenset({"max"}): ("gpt-6.1-sol", "gpt-6-luna", "gpt-5.6-terra"),
        frozenset(): ("gpt-5.5", "claude-opus-5-5"),
    },
    "thinking.kinds": {
        frozenset({"adaptive", "effort"}): ("claude-opus-5-5", "claude-opus-4-7"),
        frozenset({"adaptive", "effort", "budget"}): ("claude-opus-4-6", "claude-sonnet-4-6"),
        frozenset({"budget", "effort"}): ("claude-opus-4-5",),
        frozenset({"budget"}): ("claude-haiku-4-5", "gemini-2.5-pro", "gemini-2.5-flash"),
        frozenset({"effort"}): ("gpt-6.1-sol", "gemini-3.8-flash", "grok-4.7", "mistral-large-4"),
    },
    "thinking.least_budget_tokens": {
        1024: ("claude-haiku-4-5",),
        128: ("gemini-2.5-pro",),
        512: ("gemini-2.5-flash-lite",),
        1: ("gemini-2.5-flash",),
    },
    "thinking.most_budget_tokens": {32768: ("gemini-2.5-pro",), 24576: ("gemini-2.5-flash",)},
}
PINNED = [
    (path, model, value)
    for path, values in CELLS.items()
    for value, models in values.items()
    for model in models
]


@pytest.mark.parametrize(("path", "model", "value"), PINNED)
def test_cells(path: str, model: str, value: object) -> None:
    assert cell(facts_of(model), path) == value


@pytest.mark.parametrize(
    ("keyword", "is_refused"),
    [("minimum", True), ("maxLength", True), ("pattern", True), ("enum", False), ("anyOf", False)],
)
def test_claude_refuses_bounds_in_a_schema_of_its_output(keyword: str, is_refused: bool) -> None:
    schemas = facts_of("claude-opus-5-5").schemas
    assert (keyword in schemas.refused_keywords) is is_refused
    assert "anyOf" in schemas.refused_at_tool_root


def test_a_model_of_no_known_family_refuses_nothing() -> None:
    facts = facts_of("nobody-7b")
    assert facts.known == "nothing"
    assert facts.capabilities is None
    assert refused(facts, "high") == set()
    assert facts.tools.on_chat("high")
    assert facts.thinking.nearest("high") is None


def test_a_model_that_is_newer_than_the_table_has_the_rules_of_its_family() -> None:
    facts = facts_of("claude-opus-5-5-20270101")
    assert (facts.known, facts.thinking.off) == ("model", "cannot")
    newer = facts_of("gpt-6-mercury")
    assert (newer.known, newer.tools.on_chat_completions) == ("family", "only_at_none")


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-6.1-sol", "none", "low"),
        ("deepseek-v4-pro", "medium", "high"),
        ("deepseek-v4-pro", "minimal", "low"),
        ("gpt-5", "max", "high"),
        ("claude-opus-4-6", "xhigh", "max"),
        ("mistral-large-4", "low", "high"),
        ("gpt-4o", "high", None),
        ("qwen3.8-max", "high", None),
    ],
)
def test_the_nearest_effort(model: str, asked: Effort, sent: str | None) -> None:
    assert facts_of(model).thinking.nearest(asked) == sent


@pytest.mark.parametrize(
    ("model", "at"),
    [
        ("gpt-6-luna", {None: False, "none": True, "low": False}),
        ("gpt-6.1-sol", {None: False, "low": False}),
        ("gpt-5.4", {None: True, "none": True, "low": False}),
        ("gpt-5.2", {None: True, "high": True}),
    ],
)
def test_tools_on_chat_completions(model: str, at: dict[Effort | None, bool]) -> None:
    tools = facts_of(model, "openai").tools
    assert {effort: tools.on_chat(effort) for effort in at} == at


def test_what_openais_chat_completions_refuses_is_a_resellers_business() -> None:
    assert facts_of("openai/gpt-6.1-sol", "openrouter").tools.on_chat("high")
    assert not facts_of("gpt-6.1-sol", "azure").tools.on_chat("high")


def test_no_rule_is_hidden_behind_an_earlier_one() -> None:
    for number, family in enumerate(FAMILIES):
        for beginning in family.beginnings:
            first = next(one for one in FAMILIES if one.matches(beginning))
            assert first is family, f"{beginning} of row {number} is matched by {first.beginnings}"


def test_every_rule_is_well_formed_and_says_where_it_was_read() -> None:
    for family in FAMILIES:
        assert family.source.where
        for pattern in (family.tools.id_pattern, family.tools.name_pattern):
            if pattern is not None:
                re.compile(pattern)
        efforts = family.thinking.efforts or ()
        assert list(efforts) == sorted(efforts, key=EFFORTS.index)
        assert family.thinking.default_effort in (None, *efforts)
        assert not family.capabilities & family.lacks
