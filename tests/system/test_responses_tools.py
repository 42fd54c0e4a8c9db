"""What coding agents send as tools on /v1/responses, answered by models with functions alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_openai import FakeOpenAI, custom_call
from fake_provider import Behaviour, FakeProvider
from hypothesis import given
from hypothesis import strategies as st
from live_gateway import LiveGateway
from openai import OpenAI

from server.surfaces.responses.calls import OpenCall, arguments_of, input_of
from server.surfaces.responses.items import Bridge
from server.surfaces.responses.tools import CUSTOM, FUNCTION, Tool, Toolbox

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"cmd": {"type": "string"}}}
RUN = {"type": "function", "name": "run", "description": "Runs.", "strict": False,
       "parameters": SCHEMA}  # fmt: skip
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Patches.", "format": GRAMMAR}
AGENTS = {"type": "namespace", "name": "agents", "description": "Sub-agents.",
          "tools": [RUN | {"name": "spawn"}, RUN | {"name": "stop"}]}  # fmt: skip
SEARCH = {"type": "web_search", "external_web_access": True}
# What Codex sends beside its tools.
AGENT: dict[str, Any] = {
    "model": "p2l", "store": False, "parallel_tool_calls": True, "tool_choice": "auto",
    "include": ["reasoning.encrypted_content"], "prompt_cache_key": "c1",
    "reasoning": {"effort": "low", "summary": "auto", "context": "all_turns"},
    "text": {"verbosity": "low"}, "client_metadata": {"session_id": "s"},
}  # fmt: skip
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend it."}]}
PRICE = "input_usd_per_mtok: 1, output_usd_per_mtok: 10"


def config(plain: FakeProvider, openai: FakeOpenAI, claude: Any, gemini: Any) -> str:
    return f"""
providers:
  vllm: {{kind: openai, base_url: "{plain.base_url}", profile: vllm}}
  chat: {{kind: openai, base_url: "{plain.base_url}"}}
  openai: {{kind: openai, base_url: "{openai.base_url}", profile: openai}}
  claude: {{kind: anthropic, base_url: "{claude.base_url}"}}
  gemini: {{kind: gemini, base_url: "{gemini.base_url}"}}
models:
  qwen: {{provider: vllm, upstream_model: up, {PRICE}}}
  other: {{provider: chat, upstream_model: up, {PRICE}}}
  gpt-5.2: {{provider: openai, {PRICE}}}
  gpt-4.1: {{provider: openai, {PRICE}}}
  claude-sonnet-4-5: {{provider: claude, {PRICE}}}
  gemini-2.5-pro: {{provider: gemini, {PRICE}}}
scorer: {{fixed: {{qwen: 1, gpt-5.2: 2, claude-sonnet-4-5: 1, gemini-2.5-pro: 1}}}}
"""


class Rig(NamedTuple):
    plain: FakeProvider
    openai: FakeOpenAI
    claude: FakeAnthropic
    gemini: FakeGemini
    url: str

    def post(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        url = f"{self.url}/v1/responses"
        return httpx.post(url, json=AGENT | body, headers=headers, trust_env=False)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with (
        FakeProvider() as plain,
        FakeOpenAI() as openai,
        FakeAnthropic() as claude,
        FakeGemini() as gemini,
        LiveGateway(config(plain, openai, claude, gemini)) as gateway,
    ):
        yield Rig(plain, openai, claude, gemini, gateway.url)


def calls(name: str, *arguments: str) -> Behaviour:
    deltas: list[dict[str, Any]] = [
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function",
                         "function": {"name": name, "arguments": ""}}]}]  # fmt: skip
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": a}}]} for a in arguments]
    whole = {"name": name, "arguments": "".join(arguments)}
    call = {"id": "c1", "type": "function", "function": whole}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return Behaviour(deltas=tuple(deltas), message=message, finish_reason="tool_calls")


BRIDGED = ("qwen", "other", "claude-sonnet-4-5", "gemini-2.5-pro")
TOOLS = [RUN, PATCH, AGENTS, SEARCH, {"type": "image_generation"}]


BUDGETS: list[dict[str, str]] = [
    {},
    {"x-cost-budget": "1"},
    {"x-cost-budget": "5", "x-cost-budget-mode": "hard"},
]


@pytest.mark.parametrize("headers", BUDGETS)
@pytest.mark.parametrize("model", [*BRIDGED, "gpt-5.2", "gpt-4.1"])
def test_whoever_answers_takes_what_an_agent_sends(
    rig: Rig, model: str, headers: dict[str, str]
) -> None:
    answer = rig.post({"input": [USER], "tools": TOOLS, "model": model}, **headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["tools"][:3] == TOOLS[:3]
    left_out = answer.headers.get("x-p2l-left-out-fields", "").split(",")
    if model in BRIDGED:
        assert {"client_metadata", "tools.web_search", "reasoning.context"} <= set(left_out)


@pytest.mark.parametrize("model", BRIDGED)
def test_tools_that_the_input_brings_are_tools(rig: Rig, model: str) -> None:
    custom = PATCH | {"name": "exec"}
    group = {"type": "namespace", "name": "functions", "description": "", "tools": [custom, RUN]}
    item = {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": [group, AGENTS]}
    answer = rig.post({"input": [item, USER], "model": model})
    assert answer.status_code == 200, answer.text
    provider = {"qwen": rig.plain, "other": rig.plain, "gemini-2.5-pro": rig.gemini}
    sent = json.dumps(provider.get(model, rig.claude).requests[-1].body)
    for name in ("exec", "run", "agents__spawn", "agents__stop"):
        assert f'"name": "{name}"' in sent


def test_a_custom_tool_is_a_function_with_one_text(rig: Rig) -> None:
    rig.plain.script("up", calls("apply_patch", '{"input": "*** Begin', ' \\"x\\"\\n"}'))
    answer = rig.post({"input": [USER], "tools": [PATCH], "model": "qwen"}).json()
    [function] = [tool["function"] for tool in rig.plain.requests[-1].body["tools"]]
    assert function["parameters"]["required"] == ["input"]
    assert "Patches." in function["description"]
    assert "start: /.+/" in function["description"], "nobody else tells the model"
    [item] = answer["output"]
    assert item["type"] == "custom_tool_call"
    assert item["id"].startswith("ctc_")
    assert (item["call_id"], item["name"]) == ("c1", "apply_patch")
    assert item["input"] == '*** Begin "x"\n'


def test_its_stream_has_the_events_of_a_custom_tool(rig: Rig) -> None:
    pieces = ('{"in', 'put": "a\\', "n\\u00", "e9 \\ud83d", '\\ude00"', "}")
    rig.plain.script("up", calls("apply_patch", *pieces))
    with OpenAI(base_url=f"{rig.url}/v1", api_key="unused", max_retries=0) as sdk:
        tools: Any = [PATCH]
        events = list(sdk.responses.create(model="qwen", input="x", tools=tools, stream=True))
    kinds = [event.type for event in events]
    assert kinds[2] == "response.output_item.added"
    deltas = [e.delta for e in events if e.type == "response.custom_tool_call_input.delta"]
    assert len(deltas) > 1, "by the piece, as it comes"
    assert "".join(deltas) == "a\né 😀"
    assert kinds[-3:] == [
        "response.custom_tool_call_input.done",
        "response.output_item.done",
        "response.completed",
    ]
    done: Any = events[-3]
    assert done.input == "a\né 😀"
    [item] = events[-1].response.output
    assert (item.type, item.input) == ("custom_tool_call", "a\né 😀")


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_of_a_namespace_is_called_by_both_names(rig: Rig, stream: bool) -> None:
    rig.plain.script("up", calls("agents__spawn", '{"cmd": "x"}'))
    body = {"input": [USER], "tools": [RUN, AGENTS], "model": "qwen", "stream": stream}
    answer = rig.post(body)
    response = answer.json() if not stream else last_event(answer)["response"]
    [item] = response["output"]
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "agents", "spawn")
    back = [USER, item, {"type": "function_call_output", "call_id": "c1", "output": "done"}]
    assert rig.post(body | {"input": back}).status_code == 200
    [_, assistant, tool] = rig.plain.requests[-1].body["messages"]
    assert assistant["tool_calls"][0]["function"]["name"] == "agents__spawn"
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "done"}


def last_event(answer: httpx.Response) -> Any:
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    return json.loads(lines[-1].removeprefix("data: "))


CALLS: list[tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]] = [
    (
        {"type": "local_shell"},
        "local_shell",
        {"command": ["ls"]},
        {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"], "env": {}}},
    ),
    (
        {"type": "shell", "environment": {"type": "local"}},
        "shell",
        {"commands": ["ls"]},
        {"type": "shell_call", "action": {"commands": ["ls"]}},
    ),
    (
        {"type": "apply_patch"},
        "apply_patch",
        {"type": "update_file", "path": "a", "diff": "@@"},
        {
            "type": "apply_patch_call",
            "operation": {"type": "update_file", "path": "a", "diff": "@@"},
        },
    ),
    (
        {"type": "tool_search", "execution": "client", "description": "d", "parameters": SCHEMA},
        "tool_search",
        {"cmd": "x"},
        {"type": "tool_search_call", "execution": "client", "arguments": {"cmd": "x"}},
    ),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("tool", "name", "arguments", "said"), CALLS)
def test_tools_that_the_api_has_names_for(
    rig: Rig,
    tool: dict[str, Any],
    name: str,
    arguments: dict[str, Any],
    said: dict[str, Any],
    stream: bool,
) -> None:
    rig.plain.script("up", calls(name, json.dumps(arguments)))
    body = {"input": [USER], "tools": [tool], "model": "qwen", "stream": stream}
    answer = rig.post(body)
    response = answer.json() if not stream else last_event(answer)["response"]
    [item] = response["output"]
    assert item["status"] == "completed"
    assert {key: item[key] for key in said} == said
    result = {"type": f"{item['type']}_output", "call_id": item["call_id"], "output": "done"}
    if name == "tool_search":
        result = {"type": "tool_search_output", "call_id": "c1", "execution": "client",
                  "tools": [RUN | {"name": "found"}]}  # fmt: skip
    assert rig.post(body | {"input": [USER, item, result]}).status_code == 200
    sent = rig.plain.requests[-1].body
    [call] = sent["messages"][1]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == arguments
    assert "done" in sent["messages"][2]["content"] or name == "tool_search"
    if name == "tool_search":
        assert sent["tools"][-1]["function"]["name"] == "found"


def test_an_agent_may_change_to_openai_and_back(rig: Rig) -> None:
    rig.plain.script("up", calls("apply_patch", '{"input": "p"}'))
    body = {"tools": [PATCH, AGENTS], "input": [USER]}
    [first] = rig.post(body | {"model": "qwen"}).json()["output"]
    rig.openai.script("gpt-5.2", Behaviour(blocks=(custom_call("c2", "apply_patch", "q"),)))
    done = {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"}
    body["input"] += [first, done]
    answer = rig.post(body | {"model": "gpt-5.2"})
    assert answer.status_code == 200, answer.text
    second = answer.json()["output"]
    body["input"] += [*second, done | {"call_id": "c2"}]
    answer = rig.post(body | {"model": "claude-sonnet-4-5"})
    assert answer.status_code == 200, answer.text
    said = json.dumps(rig.claude.requests[-1].body["messages"])
    assert '{"input": "p"}' in said
    assert '{"input": "q"}' in said


def test_what_a_provider_looked_up_before_is_passed_over(rig: Rig) -> None:
    looked = {"type": "web_search_call", "id": "ws_1", "status": "completed",
              "action": {"type": "search", "query": "x"}}  # fmt: skip
    answer = rig.post({"input": [USER, looked], "tools": TOOLS, "model": "qwen"})
    assert answer.status_code == 200, answer.text
    assert "input.web_search_call" in answer.headers["x-p2l-left-out-fields"]


CHOICES: list[dict[str, Any]] = [
    {"type": "function", "name": "run"},
    {"type": "custom", "name": "apply_patch"},
    {"type": "function", "name": "spawn", "namespace": "agents"},
    {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "custom", "name": "apply_patch"}],
    },
]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_of_tools_is_one_of_functions(rig: Rig, choice: dict[str, Any]) -> None:
    answer = rig.post({"input": [USER], "tools": TOOLS, "model": "qwen", "tool_choice": choice})
    assert answer.status_code == 200, answer.text
    sent = rig.plain.requests[-1].body
    names = [tool["function"]["name"] for tool in sent["tools"]]
    if choice["type"] == "allowed_tools":
        assert (names, sent["tool_choice"]) == (["apply_patch"], "required")
        return
    named = sent["tool_choice"]["function"]["name"]
    assert named == choice.get("namespace", "").replace("agents", "agents__") + choice["name"]
    assert named in names


@pytest.mark.parametrize("model", [*BRIDGED, "gpt-5.2", "gpt-4.1"])
def test_what_codex_notes_about_its_items_goes_to_nobody(rig: Rig, model: str) -> None:
    note = {"internal_chat_message_metadata_passthrough": {"turn_id": "t"}}
    call = {"type": "function_call", "call_id": "c", "name": "run", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "x"}
    items = [item | note for item in (USER, call, output)]
    answer = rig.post({"input": items, "tools": [RUN], "model": model})
    assert answer.status_code == 200, answer.text
    for provider in (rig.plain, rig.openai, rig.claude, rig.gemini):
        assert "metadata_passthrough" not in json.dumps([r.body for r in provider.requests])


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=90)


@given(st.lists(st.tuples(st.sampled_from(["", "functions", "n", "mcp__x__"]), NAMES), max_size=8))
def test_names_of_functions_are_legal_unique_and_lead_back(names: list[tuple[str, str]]) -> None:
    box = Toolbox()
    for namespace, name in names:
        tool = {"type": "custom", "name": name}
        box.add([{"type": "namespace", "name": namespace, "tools": [tool]}], "tools")
    made = [tool["function"]["name"] for tool in box.functions]
    assert len(set(made)) == len(made)
    for namespace, name in names:
        called = box.name_of(CUSTOM, name, namespace)
        assert called in made
        assert len(called) <= 64
        assert called.replace("_", "").replace("-", "").isascii()
        assert box.tool_of(called).name == name


@given(st.text(st.characters(codec="utf-8")), st.data())
def test_a_text_is_read_whole_however_it_is_cut(text: str, data: Any) -> None:
    box = Toolbox()
    box.add([PATCH], "tools")
    whole = data.draw(st.sampled_from([arguments_of(text), json.dumps({"input": text})]))
    opened = OpenCall({"id": "c", "function": {"name": "apply_patch"}}, box)
    said = ""
    while whole:
        n = data.draw(st.integers(1, len(whole)))
        piece, whole = whole[:n], whole[n:]
        said += "".join(event["delta"] for event in opened.more(piece))
    *rest, done = opened.end()
    assert said + "".join(event["delta"] for event in rest) == text
    assert done["input"] == opened.item["input"] == text


ODD = {"raw": "raw", '"s"': "s", '{"patch":"p"}': "p", '{"input":"p","x":1}': "p", "{": "{"}


@pytest.mark.parametrize(("arguments", "text"), ODD.items())
def test_models_that_call_the_text_otherwise(arguments: str, text: str) -> None:
    assert input_of(arguments) == text


def test_the_same_history_is_the_same_messages_from_turn_to_turn() -> None:
    tools = [{"type": "additional_tools", "tools": [AGENTS, PATCH]}]
    items = [
        USER,
        {"type": "function_call", "call_id": "c", "namespace": "agents", "name": "spawn",
         "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
    ]  # fmt: skip
    with_tools, without = Bridge(), Bridge()
    with_tools.add([*tools, *items])
    without.add(items)
    assert with_tools.messages == without.messages
    assert with_tools.tools.tool_of("agents__spawn") == Tool(FUNCTION, "spawn", "agents")
