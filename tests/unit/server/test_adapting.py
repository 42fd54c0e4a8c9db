"""A request in the words of the model that is chosen: what it refuses is translated or left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from server.adapting import adapt_chat, adapt_messages, adapt_responses
from server.adapting.page import page
from server.model_facts import EFFORTS, Limits, ModelFacts, facts_of
from server.upstream.gemini.request import thinking_config

USER = [{"role": "user", "content": "x"}]
MODELS = (
    "gpt-6.1-sol", "gpt-6-luna", "gpt-5.6-terra", "gpt-5.4", "gpt-5-mini", "o3", "gpt-4o",
    "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-4-8",
    "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-3-5-haiku-20241022", "gemini-3.8-flash",
    "gemini-3.1-pro-preview", "gemini-2.5-flash", "gemini-2.5-pro", "grok-4.7", "deepseek-v4-pro",
    "kimi-k3.1-pro", "mistral-large-4", "glm-5.3", "qwen3.8-max", "a-model-of-nobody",
)  # fmt: skip


def chat(model: str, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...], str | None]:
    """The fields that are sent (without the messages), what is left out, and why it cannot."""
    adapted = adapt_chat({"messages": USER, **fields}, facts_of(model))
    sent = {name: value for name, value in adapted.body.items() if name != "messages"}
    return sent, adapted.left_out, adapted.reason


@pytest.mark.parametrize(
    ("model", "asked", "sent", "left_out"),
    [
        ("gpt-5-mini", {"temperature": 0.2}, {}, ("temperature",)),
        ("gpt-5-mini", {"temperature": 1}, {}, ()),
        ("gpt-4o", {"temperature": 0.2}, {"temperature": 0.2}, ()),
        ("gpt-5.2", {"temperature": 0.2, "reasoning_effort": "none"},
         {"temperature": 0.2, "reasoning_effort": "none"}, ()),
        ("gpt-5-mini", {"presence_penalty": 0.5, "top_p": 0.5, "logit_bias": {"1": 2}}, {},
         ("top_p", "presence_penalty", "logit_bias")),
        ("gpt-4o", {"reasoning_effort": "low"}, {}, ("reasoning_effort",)),
        ("gpt-4o", {"reasoning_effort": "none"}, {}, ()),
        ("o3", {"parallel_tool_calls": False}, {}, ("parallel_tool_calls",)),
        ("gpt-5.6-terra", {"reasoning_effort": "max"}, {"reasoning_effort": "xhigh"}, ()),
        ("gpt-5-mini", {"thinking": {"type": "enabled", "budget_tokens": 2000}},
         {"reasoning_effort": "low"}, ()),
        ("gpt-5-mini", {"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}, ()),
        ("claude-opus-5-5", {"temperature": 0.2, "top_p": 0.3}, {}, ("temperature", "top_p")),
        ("claude-sonnet-4-5", {"temperature": 0.2, "top_p": 0.3}, {"temperature": 0.2},
         ("top_p",)),
        ("claude-sonnet-4-5", {"temperature": 1, "top_p": 0.3}, {"top_p": 0.3}, ()),
        ("claude-sonnet-4-5", {"temperature": 0.2, "top_p": 1}, {"temperature": 0.2}, ()),
        ("claude-sonnet-4-5", {"temperature": 1.7}, {"temperature": 1.0}, ()),
        ("claude-3-5-haiku-20241022", {"reasoning_effort": "high"}, {}, ("reasoning_effort",)),
        ("claude-opus-4-8", {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}, ()),
        ("claude-opus-4-8", {"thinking": {"type": "enabled", "budget_tokens": 9000}},
         {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, ()),
        ("claude-opus-5-5", {"thinking": {"type": "disabled"}}, {}, ("thinking",)),
        ("claude-sonnet-5-5", {"thinking": {"type": "disabled"}},
         {"thinking": {"type": "between_tools"}}, ()),
        ("gemini-3.8-flash", {"temperature": 0.2}, {}, ("temperature",)),
        ("gemini-2.5-pro", {"reasoning_effort": "none"}, {"reasoning_effort": "minimal"}, ()),
        ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"reasoning_effort": "none"}, ()),
        ("deepseek-v4-pro", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ()),
        ("deepseek-v4-pro", {"thinking": {"type": "disabled"}},
         {"thinking": {"type": "disabled"}}, ()),
        ("deepseek-v4-pro", {"thinking": {"type": "enabled"}, "reasoning_effort": "medium"},
         {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}, ()),
        ("qwen3.8-max", {"reasoning_effort": "none"}, {"enable_thinking": False}, ()),
        ("qwen3.8-max", {"reasoning_effort": "medium"},
         {"enable_thinking": True, "thinking_budget": 8_192}, ()),
        ("kimi-k3.1-pro", {"reasoning_effort": "none"}, {"reasoning_effort": "low"}, ()),
        ("a-model-of-nobody", {"temperature": 0.2, "reasoning_effort": "low", "top_k": 4},
         {"temperature": 0.2, "reasoning_effort": "low", "top_k": 4}, ()),
    ],
)  # fmt: skip
def test_a_wish_is_translated_or_left_out(
    model: str, asked: dict[str, Any], sent: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    assert chat(model, **asked) == (sent, left_out, None)


def test_log_probabilities_are_not_included_where_a_model_has_none() -> None:
    name = "message.output_text.logprobs"
    asked = {"include": [name, "reasoning.encrypted_content"], "top_logprobs": 2}
    adapted = adapt_responses(asked, facts_of("gpt-6.1-sol"))
    assert adapted.body == {"include": ["reasoning.encrypted_content"]}
    assert set(adapted.left_out) == {"top_logprobs", f"include.{name}"}
    kept = adapt_responses(asked, facts_of("gpt-4o")).body
    assert name in kept["include"]


def test_a_cap_over_the_models_own_is_lowered() -> None:
    facts = replace(facts_of("gpt-4o"), limits=Limits(max_output_tokens=16384))
    for name in ("max_tokens", "max_completion_tokens"):
        assert adapt_chat({"messages": USER, name: 32000}, facts).body[name] == 16384
        assert adapt_chat({"messages": USER, name: 100}, facts).body[name] == 100
    assert adapt_messages({"max_tokens": 32000}, facts).body["max_tokens"] == 16384
    assert adapt_responses({"max_output_tokens": 32000}, facts).body["max_output_tokens"] == 16384


def test_a_long_user_keeps_apart_from_others() -> None:
    sent = {chat("gpt-4o", user=letter * 100)[0]["user"] for letter in "ab"}
    assert len(sent) == 2
    assert all(len(user) == 64 for user in sent)
    assert chat("gpt-4o", user="short")[0]["user"] == "short"


def schema_of(**more: Any) -> dict[str, Any]:
    properties = {"score": {"type": "integer", "minimum": 1}, "why": {"type": "string"}}
    return {"type": "object", "properties": properties, "required": ["score", "why"], **more}


def format_of(schema: dict[str, Any]) -> dict[str, Any]:
    inside = {"name": "grade", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": inside}


def test_claude_gets_a_schema_without_bounds_and_closed() -> None:
    sent, left_out, reason = chat("claude-sonnet-4-6", response_format=format_of(schema_of()))
    schema = sent["response_format"]["json_schema"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["score"] == {"type": "integer"}
    assert left_out == ("response_format.schema.minimum",)
    assert reason is None


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    schema = {"type": "object", "properties": {"minimum": {"type": "integer"}, "not": {}}}
    sent, left_out, _ = chat("claude-sonnet-4-6", response_format=format_of(schema))
    assert set(sent["response_format"]["json_schema"]["schema"]["properties"]) == {"minimum", "not"}
    assert left_out == ()


def test_what_is_not_strict_enough_is_not_strict() -> None:
    sent, left_out, _ = chat("gpt-4o", response_format=format_of(schema_of(required=["score"])))
    assert sent["response_format"]["json_schema"]["strict"] is False
    assert left_out == ("response_format.strict",)
    good = format_of(schema_of(additionalProperties=False))
    assert chat("gpt-4o", response_format=good) == ({"response_format": good}, (), None)


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


def test_a_tools_schema_has_nothing_at_its_root_that_the_model_refuses() -> None:
    parameters = {"type": "object", "anyOf": [{"required": ["a"]}], "properties": {"a": {}}}
    sent, left_out, _ = chat("claude-opus-5-5", tools=[tool(parameters=parameters)])
    assert "anyOf" not in sent["tools"][0]["function"]["parameters"]
    assert left_out == ("tools.parameters.anyOf",)


@pytest.mark.parametrize(
    ("model", "fields", "reason"),
    [
        ("claude-opus-5-5", {"tools": [tool()], "tool_choice": "required"}, "forces a call"),
        ("gemini-2.5-flash", {"tools": [tool()], "response_format": format_of(schema_of())},
         "together with JSON"),
        ("gpt-4o", {"tools": [tool()] * 129}, "128 tools"),
    ],
)  # fmt: skip
def test_what_is_truly_needed_is_a_reason(model: str, fields: dict[str, Any], reason: str) -> None:
    assert reason in (chat(model, **fields)[2] or "")


def test_thinking_gives_way_to_a_forced_call() -> None:
    fields = {"tools": [tool()], "tool_choice": "required", "reasoning_effort": "high"}
    sent, _, reason = chat("claude-sonnet-4-6", **fields)
    assert (sent["reasoning_effort"], reason) == ("none", None)


@pytest.mark.parametrize(
    ("model", "switch"),
    [
        ("deepseek-v4-pro", {"thinking": {"type": "disabled"}}),
        ("qwen3.8-max", {"enable_thinking": False}),
    ],
)
def test_thinking_gives_way_in_the_vendors_own_words(model: str, switch: dict[str, Any]) -> None:
    fields = {"tools": [tool()], "tool_choice": "required"}
    sent, _, reason = chat(model, **fields, reasoning_effort="high")
    assert (sent, reason) == ({**fields, **switch}, None)


def test_an_effort_gives_way_to_a_forced_call_at_claude() -> None:
    fields = {"tools": [tool()], "tool_choice": "required"}
    haiku = chat("claude-haiku-5-5", **fields, reasoning_effort="low")
    assert haiku == ({**fields, "reasoning_effort": "none"}, (), None)
    fable = chat("claude-fable-5", **fields, reasoning_effort="low")
    assert fable == (fields, ("reasoning_effort",), None)


def test_a_reseller_has_words_of_its_own() -> None:
    facts = facts_of("deepseek-v4-pro", "openrouter")
    body = {"messages": USER, "reasoning_effort": "none"}
    assert adapt_chat(body, facts).body == body


def test_the_page_of_adapting_is_as_the_functions_say() -> None:
    shown = (Path(__file__).parents[3] / "docs" / "adapting.md").read_text()
    assert shown == page() + "\n"


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("model", [name for name in MODELS if name.startswith("gemini")])
def test_no_effort_rules_a_gemini_out(model: str, effort: str) -> None:
    sent = chat(model, reasoning_effort=effort)[0]
    assert thinking_config(sent["reasoning_effort"], model)


def test_a_beginning_of_the_answer_needs_a_model_that_goes_on_with_it() -> None:
    messages = [*USER, {"role": "assistant", "content": "{", "prefix": True}]
    assert adapt_chat({"messages": messages}, facts_of("claude-opus-5-5")).reason is not None
    assert adapt_chat({"messages": messages}, facts_of("claude-sonnet-4-5")).reason is None


@pytest.mark.parametrize(
    ("model", "asked", "sent", "left_out"),
    [
        ("claude-opus-5-5", {"temperature": 0.1, "top_k": 4}, {}, ("temperature", "top_k")),
        ("claude-opus-5-5", {"thinking": {"type": "enabled", "budget_tokens": 1500}},
         {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, ()),
        ("claude-sonnet-4-5", {"thinking": {"type": "adaptive"}, "max_tokens": 32000},
         {"thinking": {"type": "enabled", "budget_tokens": 8192}, "max_tokens": 32000}, ()),
        ("claude-sonnet-4-5", {"output_config": {"effort": "high"}}, {},
         ("output_config.effort",)),
        ("claude-sonnet-4-6", {"output_config": {"effort": "xhigh"}},
         {"output_config": {"effort": "max"}}, ()),
        ("claude-haiku-5-5", {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
         {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, ()),
        ("claude-sonnet-4-5", {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2},
         ("top_p",)),
        ("claude-3-5-haiku-20241022", {"thinking": {"type": "adaptive"}}, {}, ("thinking",)),
    ],
)  # fmt: skip
def test_messages(
    model: str, asked: dict[str, Any], sent: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    adapted = adapt_messages(asked, facts_of(model))
    assert (dict(adapted.body), adapted.left_out, adapted.reason) == (sent, left_out, None)


@pytest.mark.parametrize(
    ("model", "asked", "sent", "left_out"),
    [
        ("gpt-5-mini", {"temperature": 0.2}, {}, ("temperature",)),
        ("gpt-4o", {"reasoning": {"effort": "high"}}, {}, ("reasoning",)),
        ("gpt-5.4", {"reasoning": {"effort": "minimal", "summary": "auto"}},
         {"reasoning": {"effort": "low", "summary": "auto"}}, ()),
        ("gpt-5.6-terra", {"reasoning": {"effort": "max"}}, {"reasoning": {"effort": "max"}}, ()),
    ],
)  # fmt: skip
def test_responses(
    model: str, asked: dict[str, Any], sent: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    adapted = adapt_responses(asked, facts_of(model))
    assert (dict(adapted.body), adapted.left_out, adapted.reason) == (sent, left_out, None)


fields = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.01, 1),
        "top_k": st.integers(1, 50),
        "presence_penalty": st.floats(-2, 2),
        "logprobs": st.booleans(),
        "stop": st.lists(st.text(min_size=1, max_size=3), max_size=2),
        "reasoning_effort": st.sampled_from([*EFFORTS, "nonsense"]),
        "thinking": st.sampled_from(
            [{"type": "enabled", "budget_tokens": 5000}, {"type": "adaptive"}, {"type": "disabled"}]
        ),
        "max_tokens": st.integers(1, 200_000),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "tools": st.just([tool(parameters=schema_of())]),
        "response_format": st.just(format_of(schema_of())),
        "user": st.text(max_size=100),
        "parallel_tool_calls": st.booleans(),
    },
)


@settings(max_examples=examples(300), deadline=None)
@given(st.sampled_from(MODELS), fields)
def test_what_is_sent_is_taken(model: str, asked: dict[str, Any]) -> None:
    facts: ModelFacts = facts_of(model)
    body = {"messages": USER, **asked}
    adapted = adapt_chat(body, facts)
    # it has nothing more to change, and what is gone is named
    again = adapt_chat(adapted.body, facts)
    assert again.body == adapted.body
    assert not set(again.left_out) - {"thinking"}
    effort = next((e for e in EFFORTS if e == adapted.body.get("reasoning_effort")), None)
    for name, cell in (("temperature", "temperature"), ("top_k", "top_k"), ("stop", "stop")):
        assert name not in adapted.body or not facts.refuses(cell, effort)
    if facts.thinking.efforts and effort is not None and effort != "none":
        assert effort in facts.thinking.efforts
    assert adapted.body["messages"] == USER
    assert body == {"messages": USER, **asked}, "the caller's own body is left as it is"
