"""Each model of November 2026 answers what it can, whatever the caller asks for beside it.

The gateway is a real one in front of providers that refuse what the real ones refuse
(strict_models), and which know nothing of the product's own table of models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour
from live_gateway import LiveGateway
from merge import merged, sse_events
from strict_models import WORDS, ClaudeToday, GeminiToday, OpenAIToday, OthersToday

OPENAI = ("gpt-6.1-sol", "gpt-6-luna", "gpt-5.6-terra")
CLAUDE = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
GEMINI = ("gemini-3.8-flash", "gemini-3.1-pro-preview")
OTHERS = {
    "grok-4.7": "others", "deepseek-v4-pro": "deepseek", "deepseek-v4-flash": "deepseek",
    "kimi-k3.1-pro": "others", "mistral-large-4": "mistral", "glm-5.3": "others",
    "qwen3.8-max": "others", "gpt-oss-120b": "groq",
}  # fmt: skip
MODELS = (*OPENAI, *CLAUDE, *GEMINI, *OTHERS)
# what of EVERYTHING a model cannot do at all
CANNOT = {
    "deepseek-v4-pro": "json_schema", "deepseek-v4-flash": "json_schema", "glm-5.3": "vision",
    "gpt-oss-120b": "vision",
}  # fmt: skip
CAN = tuple(model for model in MODELS if model not in CANNOT)
KEY = "the-key"

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
REPORT = {
    "type": "object",
    "properties": {
        "summary": {"type": "string", "maxLength": 500},
        "degrees": {"type": "number", "minimum": -90, "maximum": 60},
        "tips": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["summary", "degrees"],
}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "x", "parameters": WEATHER},
}
ASKED = {"type": "text", "text": "What is the weather here?"}
SHOWN: dict[str, Any] = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
WISHES: dict[str, Any] = {
    "temperature": 0.2,
    "top_p": 0.9,
    "presence_penalty": 0.1,
    "reasoning_effort": "low",
    "max_tokens": 128_000,
    "user": "u" * 100,
}
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "report", "strict": True, "schema": REPORT},
}
EVERYTHING: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [ASKED, SHOWN]},
    ],
    "tools": [TOOL],
    "response_format": FORMAT,
    **WISHES,
}
PLAIN: dict[str, Any] = {
    "messages": [{"role": "user", "content": ASKED["text"]}],
    "tools": [TOOL],
    **WISHES,
}
MESSAGES: dict[str, Any] = {
    "system": "Be brief.",
    "max_tokens": 128_000,
    "temperature": 0.2,
    "top_p": 0.9,
    "top_k": 20,
    "thinking": {"type": "enabled", "budget_tokens": 2_000},
    "tools": [{"name": "get_weather", "input_schema": WEATHER}],
    "output_config": {"format": {"type": "json_schema", "schema": REPORT}},
    "messages": [
        {
            "role": "user",
            "content": [
                ASKED,
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                },
            ],
        }
    ],
}
RESPONSES: dict[str, Any] = {
    "instructions": "Be brief.",
    "max_output_tokens": 128_000,
    "temperature": 0.2,
    "top_p": 0.9,
    "reasoning": {"effort": "low"},
    "store": False,
    "tools": [{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}],
    "text": {"format": {"type": "json_schema", "name": "report", "strict": True, "schema": REPORT}},
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": ASKED["text"]},
                {"type": "input_image", "image_url": SHOWN["image_url"]["url"]},
            ],
        }
    ],
}
BODIES = {"chat/completions": EVERYTHING, "messages": MESSAGES, "responses": RESPONSES}


HELLO_TO_ALL: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather?"}]


class Today:
    """The gateway, and the providers behind it."""

    def __init__(self) -> None:
        self.openai, self.claude = OpenAIToday(api_key=KEY), ClaudeToday(api_key=KEY)
        self.gemini, self.others = GeminiToday(api_key=KEY), OthersToday(api_key=KEY)

    @property
    def providers(self) -> tuple[Any, ...]:
        return self.openai, self.claude, self.gemini, self.others

    def config(self, order: tuple[str, ...]) -> str:
        """order: the models, the best first."""
        others = self.others.base_url
        homes = {
            **dict.fromkeys(OPENAI, "openai"),
            **dict.fromkeys(CLAUDE, "claude"),
            **dict.fromkeys(GEMINI, "gemini"),
            **OTHERS,
        }
        price = "input_usd_per_mtok: 1, output_usd_per_mtok: 2"
        models = "\n".join(f"  {m}: {{provider: {home}, {price}}}" for m, home in homes.items())
        scores = ", ".join(f"{model}: {-number}" for number, model in enumerate(order))
        chat = f'kind: openai, base_url: "{others}", api_key_env: KEY'
        return f"""
providers:
  openai: {{kind: openai, base_url: "{self.openai.base_url}", profile: openai, responses: true,
           api_key_env: KEY}}
  claude: {{kind: anthropic, base_url: "{self.claude.base_url}", api_key_env: KEY}}
  gemini: {{kind: gemini, base_url: "{self.gemini.base_url}", api_key_env: KEY}}
  deepseek: {{{chat}, profile: deepseek}}
  mistral: {{{chat}, profile: mistral}}
  groq: {{{chat}, profile: groq}}
  others: {{{chat}}}
models:
{models}
scorer: {{fixed: {{{scores}}}}}
routing: {{retries: 0, breaker: {{consecutive_failures: 100000, min_requests: 100000}}}}
"""


@contextmanager
def running(order: tuple[str, ...] = MODELS) -> Iterator[tuple[Today, LiveGateway]]:
    today = Today()
    with ExitStack() as opened:
        for provider in today.providers:
            opened.enter_context(provider)
        yield today, opened.enter_context(LiveGateway(today.config(order), {"KEY": KEY}))


@pytest.fixture(scope="module")
def today() -> Iterator[tuple[Today, LiveGateway]]:
    with running() as both:
        yield both


@pytest.fixture
def client(today: tuple[Today, LiveGateway]) -> Iterator[httpx.Client]:
    for provider in today[0].providers:
        provider.requests.clear()
    with httpx.Client(base_url=today[1].url, trust_env=False, timeout=20) as http:
        yield http


def ask(
    client: httpx.Client, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
) -> httpx.Response:
    return client.post(f"/v1/{path}", json=body, headers=headers or {})


@pytest.mark.parametrize("routed", [False, True], ids=["by name", "routed"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("model", CAN)
def test_a_model_that_can_answers(
    client: httpx.Client, model: str, path: str, stream: bool, routed: bool
) -> None:
    asked = {"model": "p2l" if routed else model, **BODIES[path], "stream": stream}
    answer = ask(client, path, asked, {"x-route-models": model} if routed else None)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-model"] == model
    assert "get_weather" in answer.text
    assert "error" not in events_in(answer)


def events_in(answer: httpx.Response) -> set[str]:
    return {line[7:] for line in answer.text.splitlines() if line.startswith("event: ")}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("model", CANNOT)
def test_a_model_that_cannot_says_what_is_missing(
    client: httpx.Client, model: str, path: str
) -> None:
    answer = ask(client, path, {"model": model, **BODIES[path]})
    assert answer.status_code == 400, answer.text
    assert CANNOT[model] in answer.text
    if path != "messages":
        assert answer.json()["error"]["code"] == "no_eligible_model"


@pytest.mark.parametrize("path", BODIES)
def test_a_routed_request_gets_the_best_that_can(client: httpx.Client, path: str) -> None:
    only = ",".join((*CANNOT, "claude-haiku-5-5"))
    asked = {"model": "p2l", **BODIES[path]}
    answer = ask(client, path, asked, {"x-route-models": only})
    assert (answer.status_code, answer.headers.get("x-p2l-model")) == (200, "claude-haiku-5-5")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", MODELS)
def test_the_turn_after_a_tool(client: httpx.Client, model: str, stream: bool) -> None:
    first = ask(client, "chat/completions", {"model": model, **PLAIN, "stream": stream})
    assert first.status_code == 200, first.text
    if stream:
        said = merged(sse_events(first.text)[:-1])["message"]
    else:
        said = first.json()["choices"][0]["message"]
    (made,) = said["tool_calls"]
    assert json.loads(made["function"]["arguments"]) == {"city": "Oslo"}
    result = {"role": "tool", "tool_call_id": made["id"], "content": "sunny, 21"}
    asked = {"model": model, **PLAIN, "messages": [*PLAIN["messages"], said, result]}
    second = ask(client, "chat/completions", asked)
    assert second.status_code == 200, second.text
    assert second.json()["choices"][0]["message"]["content"] == WORDS


CUT_OFF = [*HELLO_TO_ALL, {"role": "assistant", "content": "The weather is "}]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", MODELS)
def test_a_conversation_that_ends_with_the_assistant(
    client: httpx.Client, model: str, stream: bool
) -> None:
    """Agents send it after an answer that was cut off, and most models of today refuse it."""
    body = {"model": model, "messages": CUT_OFF, "stream": stream}
    answer = ask(client, "chat/completions", body)
    assert answer.status_code == 200, answer.text
    assert WORDS[:5] in answer.text


@pytest.mark.parametrize("content", ["It is ", [{"type": "text", "text": "It is "}]])
@pytest.mark.parametrize("model", CLAUDE)
def test_claude_goes_on_with_what_it_began(
    client: httpx.Client, today: tuple[Today, LiveGateway], model: str, content: Any
) -> None:
    begun = [*HELLO_TO_ALL, {"role": "assistant", "content": content}]
    answer = ask(client, "messages", {"model": model, "max_tokens": 9_000, "messages": begun})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-left-out-fields"] == "messages.prefill"
    sent = today[0].claude.chats[-1].body["messages"]
    assert sent[:2] == begun
    assert "exactly where it ends" in sent[2]["content"]
    refused = {"model": model, "max_tokens": 9_000, "messages": begun}
    strict = ask(client, "messages", {**refused, "p2l": {"strict_params": True}})
    assert strict.status_code == 400


CALLED_JPEG = {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PNG}"}}


@pytest.mark.parametrize("model", [*CLAUDE, *GEMINI, "gpt-6-luna"])
def test_an_image_of_another_type_than_it_is_called(client: httpx.Client, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": [ASKED, CALLED_JPEG]}]}
    assert ask(client, "chat/completions", body).status_code == 200


@pytest.mark.parametrize("system", ["", [], [{"type": "text", "text": ""}]], ids=str)
def test_claude_gets_no_empty_text_and_images_of_their_own_type(
    client: httpx.Client, system: Any
) -> None:
    source = {"type": "base64", "media_type": "image/jpeg", "data": PNG}
    content = [ASKED, {"type": "image", "source": source}]
    body = {"model": "claude-opus-5-5", "max_tokens": 9_000, "system": system}
    answer = ask(client, "messages", {**body, "messages": [{"role": "user", "content": content}]})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
@pytest.mark.parametrize("model", CLAUDE)
def test_claude_gets_no_more_marks_than_it_takes(
    client: httpx.Client, model: str, path: str
) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    content = [{"type": "text", "text": str(number), **mark} for number in range(6)]
    body = {"model": model, "max_tokens": 9_000, "messages": [{"role": "user", "content": content}]}
    assert ask(client, path, body).status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_half_a_character_is_no_reason_to_refuse(client: httpx.Client, model: str) -> None:
    raw = b'{"model": "MODEL", "messages": [{"role": "user", "content": "cut \\ud83d here"}]}'
    raw = raw.replace(b"MODEL", model.encode())
    answer = client.post("/v1/chat/completions", content=raw)
    assert answer.status_code == 200, answer.text


# What servers of tools declare, and one vendor or another refuses.
TOOLS_OF_SERVERS: dict[str, Any] = {
    "nothing": {},
    "no properties": {"type": "object"},
    "no type": {"properties": {"city": {"type": "string"}}},
    "an array of anything": {
        "type": "object",
        "properties": {
            "cities": {"type": "array"},
            "days": {"anyOf": [{"type": ["array", "null"]}, {"type": "string"}]},
            "any": True,
        },
    },
    "nulls": {"type": "object", "properties": {"city": {"type": "string"}}, "required": None},
    "names of a query": {
        "type": "object",
        "properties": {"filter[city]": {"type": "string"}, "$top": {"type": "integer"}},
        "required": ["filter[city]"],
    },
    "its version": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"city": {"type": "string"}},
    },
}


def tools_for(path: str, schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Two tools of the same name, in the form of each API."""
    if path == "messages":
        return [{"name": "get_weather", "input_schema": schema}] * 2
    function = {"name": "get_weather", "parameters": schema}
    if path == "responses":
        return [{"type": "function", "strict": False, **function}] * 2
    return [{"type": "function", "function": {"description": None, **function}}] * 2


@pytest.mark.parametrize("schema", TOOLS_OF_SERVERS.values(), ids=TOOLS_OF_SERVERS)
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("model", ["gpt-6.1-sol", "gpt-6-luna", "claude-opus-5-5",
                                   "claude-haiku-5-5", "gemini-3.8-flash", "deepseek-v4-pro",
                                   "mistral-large-4", "gpt-oss-120b"])  # fmt: skip
def test_tools_of_any_server_are_taken(
    client: httpx.Client, model: str, path: str, schema: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {
        "chat/completions": {"messages": HELLO},
        "messages": {"messages": HELLO, "max_tokens": 9_000},
        "responses": {"input": "x"},
    }[path]
    answer = ask(client, path, {"model": model, **asked, "tools": tools_for(path, schema)})
    assert answer.status_code == 200, answer.text
    assert "get_weather" in answer.text


@pytest.mark.parametrize(
    ("model", "left_out"),
    [
        ("gpt-6.1-sol", {"temperature", "top_p", "presence_penalty", "response_format.strict"}),
        ("claude-opus-5-5", {"temperature", "top_p", "presence_penalty"}),
        ("gemini-3.8-flash", {"temperature", "top_p", "presence_penalty", "user"}),
        ("grok-4.7", {"presence_penalty"}),
        ("kimi-k3.1-pro", {"temperature", "top_p", "presence_penalty"}),
        ("mistral-large-4", {"user"}),
        ("qwen3.8-max", set()),
    ],
)
def test_what_is_left_out_is_named(client: httpx.Client, model: str, left_out: set[str]) -> None:
    answer = ask(client, "chat/completions", {"model": model, **EVERYTHING})
    named = answer.headers.get("x-p2l-left-out-fields", "")
    found = {name.strip() for name in named.split(",") if name} - SCHEMA_WORDS
    assert found == left_out


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "gemini-3.8-flash", "claude-opus-5-5"])
def test_a_cap_over_the_models_own_is_no_lack_of_context(client: httpx.Client, model: str) -> None:
    """The cap is lowered to the model's own before it is held against the window."""
    body = {"model": model, "messages": HELLO, "max_tokens": 2_000_000}
    answer = ask(client, "chat/completions", body)
    assert answer.status_code == 200, answer.text


FORCED = {"type": "function", "function": {"name": "get_weather"}}
# what cannot be told which tool to call, whatever else it is told
UNFORCED = ("claude-opus-5-5", "claude-sonnet-5-5", "kimi-k3.1-pro")


@pytest.mark.parametrize("choice", ["required", FORCED], ids=["any", "one"])
@pytest.mark.parametrize("model", MODELS)
def test_a_forced_call(client: httpx.Client, model: str, choice: Any) -> None:
    asked = {"model": model, **PLAIN, "tool_choice": choice}
    answer = ask(client, "chat/completions", asked)
    if model in UNFORCED:
        assert answer.status_code == 400
        assert "tool_choice" in answer.json()["error"]["message"]
        assert answer.json()["error"]["code"] == "no_eligible_model"
    else:
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("model", MODELS)
def test_any_effort(client: httpx.Client, model: str, effort: str) -> None:
    asked = {"model": model, **PLAIN, "reasoning_effort": effort}
    answer = ask(client, "chat/completions", asked)
    assert answer.status_code == 200, answer.text


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "additionalProperties": False, "required": list(schema["properties"])}


NO_BOUNDS = {"type": "object", "properties": {"a": {"type": "string"}}}
HELLO = [{"role": "user", "content": "x"}]


def claude_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


@pytest.mark.parametrize(
    ("model", "taken", "refused"),
    [
        ("claude-opus-5-5", {}, {"temperature": 1}),
        ("claude-opus-5-5", {}, {"top_k": 5}),
        ("claude-opus-5-5", {"max_tokens": 128_000}, {"max_tokens": 128_001}),
        ("claude-haiku-5-5", {"thinking": {"type": "disabled"}},
         {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ("claude-opus-5-5", {}, {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-5-5", {}, {"thinking": {"type": "disabled"}}),
        ("claude-opus-5-5", {}, {"output_config": {"effort": "minimal"}}),
        ("claude-opus-5-5", claude_format(closed(NO_BOUNDS)), claude_format(closed(REPORT))),
        ("claude-opus-5-5", {}, claude_format(NO_BOUNDS)),
        ("claude-opus-5-5", {}, {"tools": [{"name": "f", "input_schema": {"anyOf": []}}]}),
        ("mistral-large-4", {"temperature": 1}, {"user": "u"}),
        ("mistral-large-4", {"reasoning_effort": "high"}, {"reasoning_effort": "low"}),
        ("kimi-k3.1-pro", {"temperature": 1}, {"temperature": 0.2}),
        ("grok-4.7", {"temperature": 0.2}, {"stop": ["x"]}),
        ("deepseek-v4-pro", {"response_format": {"type": "json_object"}},
         {"response_format": FORMAT}),
        ("deepseek-v4-pro", {}, {"messages": EVERYTHING["messages"]}),
        ("glm-5.3", {}, {"messages": EVERYTHING["messages"]}),
        ("qwen3.8-max", {"max_tokens": 131_072}, {"max_tokens": 131_073}),
        ("gpt-oss-120b", {"user": "u"}, {"top_k": 5}),
        ("gpt-6-luna", {"temperature": 0.2, "reasoning_effort": "none"}, {"temperature": 0.2}),
        ("gpt-6-luna", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("gpt-6-luna", {"reasoning_effort": "low"}, {"reasoning_effort": "minimal"}),
        ("gpt-6-luna", {"tools": [TOOL], "reasoning_effort": "none"}, {"tools": [TOOL]}),
        ("gpt-6-luna", {"user": "u" * 64}, {"user": "u" * 65}),
        ("gpt-6-luna", {}, {"response_format": FORMAT}),
    ],
)  # fmt: skip
def test_the_providers_refuse_what_the_real_ones_refuse(
    today: tuple[Today, LiveGateway],
    model: str,
    taken: dict[str, Any],
    refused: dict[str, Any],
) -> None:
    providers, _ = today
    headers = {"authorization": f"Bearer {KEY}", "x-api-key": KEY, "anthropic-version": "x"}
    url, more = f"{providers.others.base_url}/chat/completions", {}
    if model in OPENAI:
        url = f"{providers.openai.base_url}/chat/completions"
    if model in CLAUDE:
        url, more = f"{providers.claude.base_url}/v1/messages", {"max_tokens": 9000}
    for fields, statuses in ((taken, {200}), (refused, {400, 422})):
        body = {"model": model, "messages": HELLO, **more, **fields}
        answer = httpx.post(url, json=body, headers=headers, trust_env=False)
        assert answer.status_code in statuses, answer.text


SCHEMA_WORDS = {
    f"response_format.schema.{name}" for name in ("maxLength", "minimum", "maximum", "maxItems")
}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("gpt-6.1-sol", "claude-opus-5-5"),
        ("grok-4.7", "mistral-large-4"),
        ("mistral-large-4", "gpt-6-luna"),
        ("claude-sonnet-5-5", "gemini-3.8-flash"),
    ],
)
@pytest.mark.parametrize("path", BODIES)
def test_each_attempt_is_adapted_anew(path: str, first: str, second: str) -> None:
    """The model that is preferred is busy: what the second is sent is made for the second."""
    busy = Behaviour(status=429, error={"message": "slow down", "code": "rate_limit_exceeded"})
    with running(order=(first, second)) as (today, gateway):
        for provider in today.providers:
            provider.script(first, busy)
        answer = httpx.post(
            f"{gateway.url}/v1/{path}",
            json={"model": "p2l", **BODIES[path]},
            headers={"x-route-models": f"{first},{second}"},
            trust_env=False,
        )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-model"] == second
    assert answer.headers["x-p2l-attempts"] == "2"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"output_config": {"effort": "max"}}, "max"),
        ({"output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5_000}}, "medium"),
    ],
)
def test_the_effort_of_a_messages_caller_reaches_openai(
    client: httpx.Client, today: tuple[Today, LiveGateway], asked: dict[str, Any], sent: str
) -> None:
    body = {"model": "gpt-6.1-sol", "max_tokens": 9_000, "messages": HELLO, **asked}
    tools = {"tools": MESSAGES["tools"]}
    assert ask(client, "messages", {**body, **tools}).status_code == 200
    assert today[0].openai.requests[-1].body["reasoning"]["effort"] == sent


def test_top_k_is_a_wish(client: httpx.Client, today: tuple[Today, LiveGateway]) -> None:
    body = {"max_tokens": 9_000, "messages": HELLO, "top_k": 7}
    answer = ask(client, "messages", {"model": "gpt-6-luna", **body})
    assert answer.headers["x-p2l-left-out-fields"] == "top_k"
    answer = ask(client, "messages", {"model": "gemini-3.1-pro-preview", **body})
    assert "x-p2l-left-out-fields" not in answer.headers
    assert today[0].gemini.requests[-1].body["generationConfig"]["topK"] == 7
