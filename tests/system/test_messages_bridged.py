"""What clients of the Messages API send besides: read in the words of chat completions."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.datastructures import Headers

from server.adapting import adapt_messages, adapt_unknown_messages
from server.errors import InvalidRequestError
from server.model_facts import facts_of
from server.surfaces.chat.request import ChatRequest
from server.surfaces.messages.request import betas_in, parse_messages_request
from server.upstream.anthropic.request import to_messages
from server.upstream.anthropic.thinking import Thinking
from server.upstream.base import Fit
from server.wire.surface import Surface

HI: Any = {"role": "user", "content": "hi"}
SAID: Any = {"role": "assistant", "content": "hello"}
TOOL: Any = {"name": "ls", "input_schema": {"type": "object"}}


class Bridged:
    """A provider that takes any chat completion."""

    def speaks(self, surface: Surface) -> bool:
        return surface is Surface.CHAT

    def fit(self, body: Any, model: str, *, bounded: bool) -> Fit:
        return Fit()


def read(*turns: Any, **fields: Any) -> ChatRequest:
    return parse_messages_request({"model": "p2l", "max_tokens": 9, "messages": turns, **fields}
                                  | {"messages": list(turns)})  # fmt: skip


def fit(wanted: ChatRequest, model: str | None = None) -> Fit:
    upstream: Any = Bridged()
    facts = None if model is None else facts_of(model)
    return wanted.fit(upstream, model or "m", bounded=False, facts=facts)


def messages(*turns: Any, **fields: Any) -> list[dict[str, Any]]:
    wanted = read(*turns, **fields)
    assert wanted.native_only is None
    return wanted.messages


def names(wanted: ChatRequest) -> list[str]:
    return [tool["function"]["name"] for tool in wanted.body.get("tools", ())]


def test_system_turns_are_system_messages_in_their_place() -> None:
    note: Any = {"role": "system", "content": [{"type": "text", "text": "be brief"}]}
    told = {"role": "system", "content": "be brief"}
    assert messages(HI, note, SAID, HI) == [HI, told, SAID, HI]
    assert messages(note, HI, system="You are an agent.")[:2] == [
        {"role": "system", "content": "You are an agent."}, told,
    ]  # fmt: skip
    assert read(HI, note).conversation.turns == ("hi",), "it is not the user's"


def test_what_system_turns_cannot_hold_elsewhere_is_refused_in_the_words_clients_look_for() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    found = fit(read(HI, {"role": "system", "content": [image]}))
    assert "role 'system' is not supported on this model" in str(found.reason)


def test_a_reminder_for_one_turn_goes_with_it() -> None:
    passing: Any = {"role": "system", "content": "be brief", "clear_at": "next_user_message"}
    assert messages(HI, passing)[-1] == {"role": "system", "content": "be brief"}
    assert messages(HI, passing, SAID, HI, passing, SAID, HI) == [HI, SAID, HI, SAID, HI]


@pytest.mark.parametrize("role", ["tool", "developer", None, 3])
def test_other_roles_are_refused_by_name(role: Any) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read(HI, {"role": role, "content": "x"})
    assert refused.value.param == "messages[1].role"


@pytest.mark.parametrize(
    ("fields", "left_out"),
    [
        ({"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}},
         ("context_management",)),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"},
                                           {"type": "compact_20260112"}]}},
         ("context_management",)),
        ({"context_management": {}, "diagnostics": None, "mcp_servers": []}, ()),
        ({"diagnostics": {"previous_message_id": "msg_1"}}, ("diagnostics",)),
        ({"output_config": {"effort": "low", "task_budget": {"type": "tokens", "total": 9}}},
         ("output_config.task_budget",)),
        ({"fallbacks": [{"model": "x"}], "a_field_of_tomorrow": {"a": 1}},
         ("a_field_of_tomorrow", "fallbacks")),
        ({"tools": [TOOL, {"type": "tool_search_tool_regex_20251119",
                           "name": "tool_search_tool_regex"}]},
         ("tools.tool_search_tool_regex_20251119",)),
    ],
)  # fmt: skip
def test_what_trims_or_advises_is_left_out_by_name(
    fields: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    found = fit(read(HI, **fields))
    assert (found.reason, found.left_out) == (None, left_out)


@pytest.mark.parametrize(
    "fields",
    [
        {"compaction": {"type": "summarize"}},
        {"container": {"skills": [{"type": "anthropic"}]}},
        {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]},
        {"inference_geo": "us"},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ],
)
def test_what_is_truly_needed_still_rules_other_providers_out(fields: dict[str, Any]) -> None:
    assert fit(read(HI, **fields)).reason is not None


def test_references_to_tools_are_words_and_tools_that_are_not_loaded_are() -> None:
    deferred: Any = {"name": "fetch", "input_schema": {"type": "object"}, "defer_loading": True}
    call = {"type": "tool_use", "id": "c1", "name": "ls", "input": {}}
    found: Any = [{"type": "text", "text": "found:"},
                  {"type": "tool_reference", "tool_name": "fetch"}]  # fmt: skip
    result = {"type": "tool_result", "tool_use_id": "c1", "content": found}
    turns: Any = [
        HI,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    wanted = read(*turns, tools=[TOOL, deferred])
    assert wanted.messages[-1]["content"] == "found:\nThe tool fetch is loaded."
    assert names(wanted) == ["ls", "fetch"]
    assert b"defer_loading" not in repr(wanted.body).encode()
    many = [{**deferred, "name": f"t{n}"} for n in range(200)]
    assert names(read(*turns, tools=[TOOL, *many, deferred])) == ["ls", "fetch"]


def test_tools_that_come_and_go() -> None:
    new = {"name": "new", "input_schema": {"type": "object"}}
    changes = [
        {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "ls"}},
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": new}},
    ]
    wanted = read(HI, {"role": "system", "content": changes}, tools=[TOOL])
    assert names(wanted) == ["new"]
    assert "The tool ls is no longer available." in wanted.messages[1]["content"]
    search = {"type": "web_search_20250305", "name": "web_search"}
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": search}}
    assert read(HI, {"role": "system", "content": [added]}).server_tools


def test_what_anthropics_own_tools_did_earlier_is_words() -> None:
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
    hits: Any = [{"type": "web_search_result", "title": "A page", "url": "https://example.com",
                  "encrypted_content": "xyz"}]  # fmt: skip
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": hits}
    said = {"role": "assistant", "content": [use, result, {"type": "text", "text": "Found."}]}
    wanted = read(HI, said, HI)
    text = wanted.messages[1]["content"]
    assert "A page\nhttps://example.com" in text
    assert text.endswith("Found.")
    assert "xyz" not in text
    assert fit(wanted).left_out == ("messages.content.server_tool_use",)


def test_a_summary_stands_for_all_before_it() -> None:
    block = {"type": "compaction", "content": "We greeted each other."}
    summed_up = {"role": "assistant", "content": [block, {"type": "text", "text": "Go on."}]}
    system = {"role": "system", "content": "You are an agent."}
    assert messages(HI, SAID, HI, summed_up, HI, system="You are an agent.") == [
        system,
        {"role": "user", "content": "<summary>\nWe greeted each other.\n</summary>"},
        {"role": "assistant", "content": "Go on."},
        HI,
    ]
    failed = {"role": "assistant", "content": [{"type": "compaction", "content": None}]}
    assert messages(HI, failed, HI) == [HI, HI]


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gpt-5.2", {"reasoning_effort": "none"}),
        ("gpt-5-mini", {"reasoning_effort": "minimal"}),
        ("gpt-4o", {}),
        ("deepseek-v4-flash", {"thinking": {"type": "disabled"}}),
        ("a-model-of-nobody", {}),
        (None, {}),
    ],
)
def test_who_asks_for_no_thoughts_gets_none_where_that_can_be_said(
    model: str | None, sent: Any
) -> None:
    for kind in ("disabled", "between_tools"):
        wanted = read(HI, thinking={"type": kind})
        assert "reasoning_effort" not in wanted.body
        found = fit(wanted, model)
        body = wanted.body if found.body is None else found.body
        told = {name: body[name] for name in ("reasoning_effort", "thinking") if name in body}
        assert told == sent


def test_the_effort_of_the_last_turn_that_names_one_counts() -> None:
    turns: Any = [HI, {"role": "system", "output_config": {"effort": "low"}}]
    config = {"output_config": {"effort": "high"}}
    assert read(*turns, **config).body["reasoning_effort"] == "low"
    assert read(HI, **config).body["reasoning_effort"] == "high"


def test_betas_of_any_number_and_in_several_headers() -> None:
    long = ",".join(f"a-beta-of-tomorrow-{n}" for n in range(100))
    given = (long, "b, a-beta-of-tomorrow-1,", "with space, c")
    raw = [(b"anthropic-beta", one.encode()) for one in given]
    assert betas_in(Headers(raw=raw)) == f"{long},b,c"
    assert betas_in(Headers()) is None
    assert betas_in(Headers({"anthropic-beta": " , "})) is None


NOTE = "x-anthropic-billing-header: cc_version=2.1.332.710; cc_entrypoint=cli; cch=36ee5;"


@pytest.mark.parametrize(
    "system",
    [
        [{"type": "text", "text": NOTE}, {"type": "text", "text": "You are an agent."}],
        f"{NOTE}\nYou are an agent.",
        [{"type": "text", "text": f"{NOTE}\n\nYou are an agent."}],
    ],
)
def test_the_line_that_counts_usage_reaches_anthropic_alone(system: Any) -> None:
    """It changes from request to request, and no cache would know the prompt again."""
    wanted = read(HI, system=system)
    assert wanted.messages == [{"role": "system", "content": "You are an agent."}, HI]
    assert fit(wanted).left_out == ("system.x-anthropic-billing-header",)
    body = wanted.native or {}
    assert adapt_messages(body, facts_of("claude-opus-5-5")).body["system"] == system
    for elsewhere in (adapt_messages(body, facts_of("deepseek-v4-pro")),
                      adapt_unknown_messages(body, "a-model-of-nobody")):  # fmt: skip
        said = elsewhere.body["system"]
        words = said if isinstance(said, str) else "".join(block["text"] for block in said)
        assert words == "You are an agent."
        assert elsewhere.left_out == ("system.x-anthropic-billing-header",)


def test_a_system_prompt_of_that_line_alone_is_none() -> None:
    assert messages(HI, system=NOTE) == [HI]
    assert "system" not in adapt_unknown_messages({"system": NOTE, "messages": [HI]}, "m").body


@pytest.mark.parametrize("n", [256, 257, 5000])
def test_a_user_of_any_length_reaches_anthropic(n: int) -> None:
    body = {"max_tokens": 9, "messages": [HI], "metadata": {"user_id": "u" * n}}
    native = adapt_messages(body, facts_of("claude-opus-5-5")).body["metadata"]["user_id"]
    chat = {"messages": [HI], "user": "u" * n}
    translated = to_messages(chat, "m", thinking=Thinking.NONE, max_output_tokens=9)
    assert native == translated["metadata"]["user_id"]
    assert (native == "u" * n) == (n <= 256)
    assert len(native) <= 256


@pytest.mark.parametrize("content", [[], "", [{"type": "thinking", "thinking": "Hm."}]])
def test_an_answer_that_said_nothing_is_no_message(content: Any) -> None:
    assert messages(HI, {"role": "assistant", "content": content}, HI) == [HI, HI]


SEARCH: Any = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("fields", "reason", "left_out"),
    [
        ({"tools": [TOOL, SEARCH]}, False, ("tools.web_search_20250305",)),
        ({"tools": [TOOL, SEARCH], "tool_choice": {"type": "any"}}, False,
         ("tools.web_search_20250305",)),
        ({"tools": [SEARCH]}, True, ()),
        ({"tools": [TOOL, SEARCH],
          "tool_choice": {"type": "tool", "name": "web_search"}}, True, ()),
        ({"tools": [TOOL, {"type": "bash_20250124", "name": "bash"}]}, True, ()),
        ({"tools": [TOOL, {"name": "x"}]}, True, ()),
    ],
)  # fmt: skip
def test_tools_that_anthropic_runs_are_an_offer_beside_the_callers_own(
    fields: dict[str, Any], reason: bool, left_out: tuple[str, ...]
) -> None:
    found = fit(read(HI, **fields))
    assert (found.reason is not None) == reason
    assert reason or found.left_out == left_out
