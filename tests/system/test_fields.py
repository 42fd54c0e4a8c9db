"""Which fields of a caller's leave: none that choose a model or a price, wherever something bounds
the request, and at a known provider none that it does not document."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_provider import Behaviour, FakeProvider
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_gateway import LiveGateway

from examples import examples
from server.upstream.profiles import PROFILES

OPEN = ("generic", "vllm", "ollama")
KEYS = {"free": "", "models": "models: [{names}]", "money": "budget_usd: 1000"}
HARD = {"x-cost-budget": "0.5", "x-cost-budget-mode": "hard"}
EXPECTED = {"x-cost-budget": "0.5"}
# Profiles of which there is a provider with a Responses API.
NATIVE = ("r-openai", "r-generic")
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "x",
    "output": [],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}
# What bounds a request, and who sends it how; a window is the gateway's own.
BOUNDS: dict[str, tuple[str, dict[str, str]]] = {
    "hard budget": ("free", HARD),
    "budget": ("free", EXPECTED),
    "a key's models": ("models", {}),
    "a key's budget": ("money", {}),
    "window": ("free", {}),
}
# Each names another model, another way there, another price, or more of an answer.
ATTACKS: dict[str, Any] = {
    "models": ["openai/o1-pro"],
    "model_fallbacks": ["o1-pro"],
    "fallbacks": [{"model": "claude-opus-5"}],
    "route": "fallback",
    "provider": {"order": ["dear"], "sort": "throughput"},
    "preset": "dear",
    "transforms": ["middle-out"],
    "plugins": [{"id": "web"}],
    "best_of": 20,
    "min_tokens": 4000,
    "min_new_tokens": 4000,
    "max_new_tokens": 4000,
    "ignore_eos": True,
    "use_beam_search": True,
    "options": {"num_predict": 4000},
    "search_parameters": {"mode": "on"},
    "search_settings": {"include_images": True},
    "compound_custom": {"models": {"answering_model": "dear"}},
    "data_sources": [{"type": "azure_search"}],
    "documents": [{"text": "many words"}],
    "chat_template": "{{ 'x' * 100000 }}",
    "safety_model": "dear-guard",
    "extra_body": {"models": ["dear"]},
    "field_of_the_future": 1,
    "a\r\nx-injected: 1, b": 1,
}
# The same, deeper: what is sent, and where it must not be.
DEEP: dict[str, Any] = {
    "stream_options": {"include_usage": True, "evil": 1},
    "response_format": {"type": "json_schema", "evil": 1, "json_schema": {"name": "x", "evil": 1}},
    "tools": [
        {"type": "function", "evil": 1, "function": {"name": "f", "evil": 1}, "provider": "dear"}
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}, "evil": 1},
    "messages": [
        {"role": "system", "content": "x", "evil": 1, "model": "dear"},
        {
            "role": "user",
            "plugins": [{"id": "web"}],
            "content": [
                {"type": "text", "text": "x", "evil": 1, "provider": {"order": ["dear"]}},
                {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "evil": 1}},
            ],
        },
    ],
}


@dataclass
class Rig:
    provider: FakeProvider
    claude: FakeAnthropic
    gemini: FakeGemini
    plain: httpx.Client
    windowed: httpx.Client

    def post(self, bound: str, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """bound: see BOUNDS, or "none"."""
        key, more = BOUNDS.get(bound, ("free", {}))
        client = self.windowed if bound == "window" else self.plain
        for fake in (self.provider, self.claude, self.gemini):
            fake.requests.clear()
        sent = {"authorization": f"Bearer key-{key}", **more, **headers}
        return client.post(path, json=body, headers=sent)

    def chat(self, bound: str, profile: str, **fields: Any) -> tuple[httpx.Response, Any]:
        """The answer and the body that left, None where none did."""
        hello = {"model": profile, "messages": [{"role": "user", "content": "Hello"}]}
        response = self.post(bound, "/v1/chat/completions", hello | fields)
        return response, self.left

    @property
    def left(self) -> Any:
        requests = (self.provider.requests, self.claude.requests, self.gemini.requests)
        return next((found[-1].body for found in requests if found), None)


def config(provider: str, claude: str, gemini: str, extra: str) -> str:
    names = [*PROFILES, "claude", "gemini", *NATIVE]
    addresses = {
        **{n: f'openai, base_url: "{provider}", profile: {n}' for n in PROFILES},
        **{n: f'openai, base_url: "{provider}", profile: {n[2:]}, responses: true' for n in NATIVE},
        "claude": f'anthropic, base_url: "{claude}"',
        "gemini": f'gemini, base_url: "{gemini}"',
    }
    lines = ["providers:"]
    lines += [f"  {name}: {{kind: {addresses[name]}}}" for name in names]
    lines += ["models:"]
    lines += [
        f"  {name}: {{provider: {name}, upstream_model: up-{name}, input_usd_per_mtok: 1, "
        "output_usd_per_mtok: 2, max_output_tokens: 8000}"
        for name in names
    ]
    lines += [f"scorer: {{fixed: {{{', '.join(f'{name}: 0' for name in names)}}}}}"]
    keys = [
        f"{{name: {name}, key_env: K_{name.upper()}, {limit.format(names=', '.join(names))}}}"
        for name, limit in KEYS.items()
    ]
    return "\n".join([*lines, f"auth: {{keys: [{', '.join(keys)}]}}", extra])


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    environ = {f"K_{name.upper()}": f"key-{name}" for name in KEYS}
    breaker = "breaker: {consecutive_failures: 100000, min_requests: 100000}"
    windows = "window_budgets: [{amount_usd: 1000, window_s: 3600, per: global}]"
    with ExitStack() as stack:
        fakes = [stack.enter_context(kind()) for kind in (FakeProvider, FakeAnthropic, FakeGemini)]
        clients = []
        for extra in ("", f", {windows}"):
            routing = f"routing: {{{breaker}{extra}}}"
            text = config(*(fake.base_url for fake in fakes), routing)
            live = stack.enter_context(LiveGateway(text, environ))
            client = httpx.Client(base_url=live.url, trust_env=False, timeout=20)
            clients.append(stack.enter_context(client))
        provider, claude, gemini = fakes
        for name in NATIVE:
            provider.script(f"up-{name}", Behaviour(answer=RESPONSE))
        assert isinstance(claude, FakeAnthropic)
        assert isinstance(gemini, FakeGemini)
        yield Rig(provider, claude, gemini, *clients)


def named(response: httpx.Response) -> set[str]:
    return set(response.headers.get("x-p2l-left-out-fields", "").split(",")) - {""}


def all_names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield name
            yield from all_names(below)
    elif isinstance(value, list):
        for item in value:
            yield from all_names(item)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("bound", BOUNDS)
def test_nothing_that_chooses_a_model_or_a_price_leaves_within_a_bound(
    rig: Rig, bound: str, profile: str
) -> None:
    response, left = rig.chat(bound, profile, **ATTACKS)
    assert response.status_code == 200, response.text
    assert not set(ATTACKS) & set(left)
    told = named(response)
    assert all(name in told for name in ATTACKS if name.isidentifier())
    assert "x-injected" not in response.headers


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("profile", PROFILES)
def test_without_a_bound_only_servers_of_many_kinds_get_what_is_not_documented(
    rig: Rig, profile: str, name: str
) -> None:
    response, left = rig.chat("none", profile, **{name: ATTACKS[name]})
    assert response.status_code == 200, response.text
    if profile in OPEN:
        assert left[name] == ATTACKS[name]
        assert not named(response)
    else:
        assert name not in left
        assert len(named(response)) == 1


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("bound", BOUNDS)
def test_nothing_hides_deeper(rig: Rig, bound: str, profile: str) -> None:
    asked = dict(DEEP, stream=True)
    for name in ("response_format", "tool_choice"):
        if profile in ("deepseek", "ollama"):
            del asked[name]
    response, left = rig.chat(bound, profile, **asked)
    assert response.status_code == 200, response.text
    assert not {"evil", "plugins", "provider", "providers"} & set(all_names(left))
    assert list(all_names(left)).count("model") == 1
    assert {"messages.evil", "messages.content.provider", "tools.function.evil"} <= named(response)
    assert left["tools"][0]["function"] == {"name": "f"}
    assert [message["content"] for message in left["messages"]] == [
        "x",
        [
            {"type": "text", "text": "x"},
            {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}},
        ],
    ]


SERVER_TOOLS: list[dict[str, Any]] = [
    {"tools": [{"type": "openrouter:web_search"}]},
    {"tools": [{"type": "web_search", "web_search": {"search_result": True}}]},
    {"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]},
    {"web_search_options": {"search_context_size": "high"}},
]


@pytest.mark.parametrize("fields", SERVER_TOOLS)
@pytest.mark.parametrize("bound", BOUNDS)
def test_what_the_provider_runs_itself_is_refused_or_left_out(
    rig: Rig, bound: str, fields: dict[str, Any]
) -> None:
    more = fields | ({"tool_choice": "required"} if "tools" in fields else {})
    response, left = rig.chat(bound, "openrouter", **more)
    if "x-cost-budget" in BOUNDS[bound][1]:
        assert response.status_code == 400
        assert left is None
        assert response.json()["error"]["param"] == next(iter(fields))
        return
    assert response.status_code == 200
    assert not {"tools", "tool_choice", "web_search_options"} & set(left)
    assert set(more) <= named(response)
    function = {"type": "function", "function": {"name": "f"}}
    beside = {"tools": [function, *fields.get("tools", [])]}
    assert rig.chat(bound, "openrouter", **beside)[1]["tools"] == [function]


@pytest.mark.parametrize("fields", SERVER_TOOLS)
def test_without_a_bound_the_provider_may_run_its_tools(rig: Rig, fields: dict[str, Any]) -> None:
    response, left = rig.chat("none", "openrouter", **fields)
    assert response.status_code == 200
    assert {name: left[name] for name in fields} == fields


ITEM = {"type": "message", "role": "user", "content": "Hello"}
NO_ARGUMENTS = {"type": "object", "properties": {}}
CODEX = {"type": "function", "name": "f", "parameters": NO_ARGUMENTS, "strict": True}
RESPONSES: dict[str, Any] = {
    **ATTACKS,
    "image": {"size": "big"},
    "moderation": {"model": "dear"},
    "context_management": [{"type": "compaction"}],
    "access_programs": {"x": "y"},
}


@pytest.mark.parametrize("bound", [*BOUNDS, "none"])
@pytest.mark.parametrize("profile", NATIVE)
def test_native_responses(rig: Rig, profile: str, bound: str) -> None:
    hosted = [{"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}]
    body = {
        "model": profile,
        "input": [
            ITEM,
            *hosted,
            {"type": "item_reference", "id": "rs_1"},
            {"type": "compaction_trigger"},
        ],
        "reasoning": {"effort": "low", "mode": "pro"},
        "tools": [CODEX],
    }
    response = rig.post(bound, "/v1/responses", body | RESPONSES)
    left = rig.left
    assert response.status_code == 200, response.text
    if profile == "r-generic" and bound == "none":
        assert {name: left[name] for name in RESPONSES} == RESPONSES
        # what is kept nowhere is referred to in vain
        assert left["input"] == [ITEM, *hosted, {"type": "compaction_trigger"}]
        return
    assert not set(ATTACKS) & set(left)
    assert "models" in named(response)
    if bound == "none":
        assert left["moderation"] == {"model": "dear"}
        return
    assert not set(RESPONSES) & set(left)
    assert left["input"] == [ITEM]
    assert left["reasoning"] == {"effort": "low"}
    assert left["tools"] == [CODEX]


@pytest.mark.parametrize("bound", BOUNDS)
def test_hosted_tools_of_responses_are_left_out_and_those_of_the_caller_are_not(
    rig: Rig, bound: str
) -> None:
    own = [
        CODEX,
        {"type": "custom", "name": "apply_patch", "format": {"type": "text"}},
        {"type": "namespace", "name": "n", "description": "d", "tools": [CODEX]},
        {"type": "local_shell"},
        {"type": "shell", "environment": {"type": "local"}},
    ]
    hosted = [
        {"type": "web_search"},
        {"type": "image_generation", "model": "dear"},
        {"type": "mcp", "server_label": "x", "server_url": "https://x.org"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "shell"},
        {"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]},
    ]
    body = {"model": "r-openai", "input": [ITEM], "tools": [*own, *hosted]}
    response = rig.post(bound, "/v1/responses", body)
    assert response.status_code == 200, response.text
    assert rig.left["tools"] == own
    assert {"tools.web_search", "tools.mcp", "tools.image_generation"} <= named(response)


def test_hosted_tools_alone_are_refused_within_a_budget(rig: Rig) -> None:
    body = {"model": "r-openai", "input": [ITEM], "tools": [{"type": "web_search"}]}
    refused = rig.post("budget", "/v1/responses", body)
    assert (refused.status_code, rig.left) == (400, None)
    empty = [{"type": "namespace", "name": "n", "description": "d", "tools": []}]
    assert rig.post("budget", "/v1/responses", body | {"tools": empty}).status_code == 200


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_prompt_kept_at_the_provider_cannot_be_bounded(rig: Rig, bound: str) -> None:
    body = {"model": "r-openai", "prompt": {"id": "pmpt_1"}}
    response = rig.post(bound, "/v1/responses", body)
    assert response.status_code == 400
    assert "that the provider stores" in response.json()["error"]["message"]
    assert rig.left is None


MESSAGES: dict[str, Any] = {
    **ATTACKS,
    "billing_policy": {"type": "billing_policy", "bill_to": "user_profile"},
    "fallback_credit_token": "t",
    "thread": {"type": "create"},
    "user_profile_id": "u",
}
MESSAGES_UNBOUNDED: dict[str, Any] = {
    "container": {"skills": []},
    "mcp_servers": [{"type": "url", "url": "https://x.org", "name": "x"}],
    "compaction": {"type": "summarize"},
}


@pytest.mark.parametrize("bound", [*BOUNDS, "none"])
def test_native_messages(rig: Rig, bound: str) -> None:
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}]
    body = {
        "model": "claude",
        "max_tokens": 50,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hello"},
                    {"type": "tool_addition", "tool": {"type": "mcp_toolset_reference"}},
                    {"type": "container_upload", "file_id": "f"},
                ],
            }
        ],
        "context_management": {"edits": [*edits, {"type": "compact_20260112"}]},
        "output_config": {"effort": "low", "model": "dear"},
    }
    response = rig.post(bound, "/v1/messages", body | MESSAGES | MESSAGES_UNBOUNDED)
    left = rig.left
    assert not set(MESSAGES) & set(left)
    if bound == "none":
        assert {name: left[name] for name in MESSAGES_UNBOUNDED} == MESSAGES_UNBOUNDED
        assert left["messages"] == body["messages"]
        return
    assert not set(MESSAGES_UNBOUNDED) & set(left)
    assert left["messages"][0]["content"] == [{"type": "text", "text": "Hello"}]
    assert left["context_management"] == {"edits": edits}
    assert left["output_config"] == {"effort": "low"}
    assert response.status_code in (200, 400)


TOOL = {"name": "f", "input_schema": {"type": "object"}}
HOSTED: list[dict[str, Any]] = [
    {"type": "web_search_20250305", "name": "web_search"},
    {"type": "web_search_20250305", "name": "web_search", "input_schema": {"type": "object"}},
    {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"},
    {"type": "mcp_toolset", "mcp_server_name": "x"},
    {"type": "code_execution_20260521", "name": "code_execution"},
]


@pytest.mark.parametrize("tool", HOSTED)
def test_hosted_tools_of_messages_are_left_out_beside_the_callers(
    rig: Rig, tool: dict[str, Any]
) -> None:
    bash = {"type": "bash_20250124", "name": "bash"}
    body = {
        "model": "claude",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hello"}],
        "tools": [TOOL, bash, tool],
    }
    for bound in BOUNDS:
        response = rig.post(bound, "/v1/messages", body)
        assert response.status_code == 200, response.text
        assert rig.left["tools"] == [TOOL, bash]
        assert named(response) == {f"tools.{tool['type']}"}
    for bound in ("budget", "hard budget"):
        alone = rig.post(bound, "/v1/messages", body | {"tools": [tool]})
        assert alone.status_code == 400
        assert rig.left is None
    assert rig.post("none", "/v1/messages", body).status_code == 200
    assert rig.left["tools"] == body["tools"]


@pytest.mark.parametrize("bound", [*BOUNDS, "none"])
@pytest.mark.parametrize("profile", ["openai", "generic", "vllm"])
def test_completions_and_embeddings(rig: Rig, profile: str, bound: str) -> None:
    attacks = {name: value for name, value in ATTACKS.items() if name != "best_of"}
    for path, body in (
        ("completions", {"prompt": "x", "best_of": 2, "max_tokens": 9, "stop": ["y"]}),
        ("embeddings", {"input": "x", "dimensions": 2}),
    ):
        response = rig.post(bound, f"/v1/{path}", {"model": profile, **body, **attacks})
        assert response.status_code == 200, response.text
        left = rig.left
        assert {name: left[name] for name in body} == body
        passed = bound == "none" and profile in OPEN
        assert {name for name in attacks if name in left} == (set(attacks) if passed else set())
        assert ("models" in named(response)) is not passed


@pytest.mark.parametrize(
    ("model", "fields"),
    [("claude", {"container": "c_1"}), ("gemini", {"cachedContent": "cachedContents/x"})],
)
def test_what_a_dialect_has_of_its_own_and_no_budget_can_bound(
    rig: Rig, model: str, fields: dict[str, Any]
) -> None:
    for bound in BOUNDS:
        response, left = rig.chat(bound, model, **fields)
        assert (response.status_code, left) == (400, None)
        assert next(iter(fields)) in response.json()["error"]["message"]
    response, left = rig.chat("none", model, **fields)
    assert response.status_code == 200
    assert {name: left[name] for name in fields} == fields


def test_no_block_hides_among_thoughts(rig: Rig) -> None:
    hidden = {"type": "tool_addition", "signature": "s", "tool": {"type": "mcp_toolset_reference"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    said = {"role": "assistant", "content": "x", "thinking_blocks": [thought, hidden]}
    user = {"role": "user", "content": "x"}
    left = rig.chat("none", "claude", messages=[user, said, user])[1]
    assert left["messages"][1]["content"] == [thought, {"type": "text", "text": "x"}]


def test_files_are_read_by_the_model_itself_where_a_reader_has_a_fee(rig: Rig) -> None:
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}}
    messages = [{"role": "user", "content": [file]}]
    pinned = [{"id": "file-parser", "pdf": {"engine": "native"}}]
    dear = [{"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}]
    response, left = rig.chat("hard budget", "openrouter", messages=messages, plugins=dear)
    assert left["plugins"] == pinned
    assert named(response) == {"plugins"}
    assert "plugins" not in rig.chat("none", "openrouter", messages=messages)[1]


def test_what_asks_for_nothing_is_not_named(rig: Rig) -> None:
    response, left = rig.chat("budget", "generic", models=None, prediction=None, store=False)
    assert not named(response)
    assert left["store"] is False


def test_many_and_long_names_make_no_long_header(rig: Rig) -> None:
    many = {f"field{i}" + "x" * 500: 1 for i in range(2000)} | {"é\n,=": 1}
    response, left = rig.chat("budget", "generic", **many)
    assert response.status_code == 200
    assert set(left) == {"model", "messages"}
    assert len(response.headers["x-p2l-left-out-fields"]) < 4000
    assert response.headers["x-p2l-left-out-fields"].endswith(",...")


def test_lists_within_lists_are_no_way_out(rig: Rig) -> None:
    deep: Any = {"model": "dear"}
    for _ in range(20):
        deep = [deep]
    response, left = rig.chat("budget", "generic", reasoning=[deep, {"effort": "low", "x": 1}])
    assert response.status_code == 200
    assert left["reasoning"] == [{"effort": "low"}]


PLACES = ("", "messages", "content", "tools", "function", "tool_choice", "response_format",
          "json_schema", "stream_options", "reasoning", "thinking", "image_url")  # fmt: skip
EVIL = st.one_of(st.sampled_from(sorted(ATTACKS)), st.text(min_size=1, max_size=12))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
MARK = "\N{SKULL}"


@pytest.mark.slow
@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    profile=st.sampled_from(sorted(PROFILES)),
    bound=st.sampled_from(sorted(BOUNDS)),
    evil=st.lists(st.tuples(st.sampled_from(PLACES), EVIL, JSON), min_size=1, max_size=8),
)
def test_within_a_bound_nothing_leaves_that_is_not_on_the_list(
    rig: Rig, profile: str, bound: str, evil: list[tuple[str, str, Any]]
) -> None:
    body: dict[str, Any] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}},
                ],
            }
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "reasoning": {"effort": "low"},
        "thinking": {"type": "enabled"},
    }
    if profile not in ("deepseek", "ollama"):
        body["tool_choice"] = {"type": "function", "function": {"name": "f"}}
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x"}}
    places = {
        "": [body],
        "messages": body["messages"],
        "content": body["messages"][0]["content"],
        "tools": body["tools"],
        "function": [body["tools"][0]["function"]],
        "json_schema": [body.get("response_format", {}).get("json_schema", {})],
        "image_url": [body["messages"][0]["content"][1]["image_url"]],
        **{n: [body[n]] for n in PLACES[5:] if n in body},
    }
    for place, name, value in evil:
        for inside in places.get(place, []):
            # a name that no list can have
            inside[MARK + name] = value
    response, left = rig.chat(bound, profile, **body)
    assert response.status_code == 200, response.text
    assert not [name for name in all_names(left) if MARK in name]
    assert left["messages"][0]["content"][0] == {"type": "text", "text": "x"}
