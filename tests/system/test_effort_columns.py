"""A model at each of several efforts is chosen like as many models, and the provider is asked for
the chosen effort in its own words, on every surface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway
from strict_models import ClaudeToday, GeminiToday, OpenAIToday, OthersToday

from router.receipt import replay

KEY = "the-key"
PRICE = "input_usd_per_mtok: 1, output_usd_per_mtok: 2"
ADAPTIVE = {"type": "adaptive", "display": "summarized"}
# model -> its provider, and what the provider is sent for each of its efforts in chat completions
SENT: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "gpt-6-luna": ("openai", {
        "none": {"reasoning_effort": "none"},
        "low": {"reasoning_effort": "low"},
        "xhigh": {"reasoning_effort": "xhigh"},
    }),
    "claude-opus-5-5": ("claude", {
        "low": {"thinking": ADAPTIVE, "output_config": {"effort": "low"}},
        "max": {"thinking": ADAPTIVE, "output_config": {"effort": "max"}},
    }),
    "claude-haiku-5-5": ("claude", {
        "none": {"thinking": {"type": "disabled"}},
        "high": {"thinking": ADAPTIVE, "output_config": {"effort": "high"}},
    }),
    "gemini-3.8-flash": ("gemini", {
        "low": {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}},
        "high": {"thinkingConfig": {"thinkingLevel": "high", "includeThoughts": True}},
    }),
    "gemini-2.5-flash": ("gemini", {
        "none": {"thinkingConfig": {"thinkingBudget": 0, "includeThoughts": False}},
        "medium": {"thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": True}},
    }),
    "grok-4.7": ("others", {
        "low": {"reasoning_effort": "low"}, "xhigh": {"reasoning_effort": "xhigh"},
    }),
    "deepseek-v4-pro": ("deepseek", {
        "none": {"thinking": {"type": "disabled"}},
        "high": {"reasoning_effort": "high"},
        "max": {"reasoning_effort": "max"},
    }),
    "kimi-k3.1-pro": ("others", {
        "low": {"reasoning_effort": "low"}, "max": {"reasoning_effort": "max"},
    }),
    "mistral-large-4": ("mistral", {
        "none": {"reasoning_effort": "none"}, "high": {"reasoning_effort": "high"},
    }),
    "glm-5.3": ("others", {
        "low": {"reasoning_effort": "low"}, "high": {"reasoning_effort": "high"},
    }),
    "qwen3.8-max": ("others", {
        "none": {"enable_thinking": False},
        "medium": {"enable_thinking": True, "thinking_budget": 8192},
    }),
}  # fmt: skip
COLUMNS = [(model, effort) for model, (_, sent) in SENT.items() for effort in sent]
THOUGHT = (
    *("reasoning_effort", "reasoning", "thinking", "output_config", "thinkingConfig"),
    *("enable_thinking", "thinking_budget"),
)
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}


class Today:
    """Providers that refuse what the real ones refuse."""

    def __init__(self) -> None:
        self.openai, self.claude = OpenAIToday(api_key=KEY), ClaudeToday(api_key=KEY)
        self.gemini, self.others = GeminiToday(api_key=KEY), OthersToday(api_key=KEY)

    @property
    def all(self) -> tuple[Any, ...]:
        return self.openai, self.claude, self.gemini, self.others

    @property
    def sent(self) -> dict[str, Any]:
        """The only request."""
        (request,) = [one for provider in self.all for one in provider.requests]
        body: dict[str, Any] = request.body
        return body

    def config(self) -> str:
        chat = f'kind: openai, base_url: "{self.others.base_url}", api_key_env: KEY'
        models = "\n".join(
            f"  {name}: {{provider: {home}, efforts: [{', '.join(reversed(sent))}], {PRICE}}}"
            for name, (home, sent) in SENT.items()
        )
        return f"""
providers:
  openai: {{kind: openai, base_url: "{self.openai.base_url}", profile: openai, responses: true,
           api_key_env: KEY}}
  claude: {{kind: anthropic, base_url: "{self.claude.base_url}", api_key_env: KEY}}
  gemini: {{kind: gemini, base_url: "{self.gemini.base_url}", api_key_env: KEY}}
  deepseek: {{{chat}, profile: deepseek}}
  mistral: {{{chat}, profile: mistral}}
  others: {{{chat}}}
models:
{models}
  claude-sonnet-5-5: {{provider: claude, {PRICE}}}
scorer: {{fixed: {{{", ".join(f"{model}: 0" for model in (*SENT, "claude-sonnet-5-5"))}}}}}
"""


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Today, str]]:
    today = Today()
    with ExitStack() as opened:
        for provider in today.all:
            opened.enter_context(provider)
        yield today, opened.enter_context(LiveGateway(today.config(), {"KEY": KEY})).url


@pytest.fixture
def today(running: tuple[Today, str]) -> Today:
    for provider in running[0].all:
        provider.requests.clear()
    return running[0]


@pytest.fixture
def client(running: tuple[Today, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running[1], trust_env=False, timeout=20) as http:
        yield http


def thought(body: dict[str, Any]) -> dict[str, Any]:
    """What a body says about thinking."""
    inner = {**body, **body.get("generationConfig", {})}
    return {name: inner[name] for name in THOUGHT if name in inner}


def bodies(model: str = "p2l", **more: Any) -> dict[str, dict[str, Any]]:
    return {
        "chat/completions": {"model": model, "messages": HELLO, **more},
        "responses": {"model": model, "input": "Hello", **more},
        "messages": {"model": model, "messages": HELLO, "max_tokens": 30_000, **more},
    }


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", bodies())
@pytest.mark.parametrize(("model", "effort"), COLUMNS)
def test_the_provider_is_asked_for_the_effort_in_its_own_words(
    today: Today, client: httpx.Client, model: str, effort: str, path: str, stream: bool
) -> None:
    body = bodies(stream=stream)[path]
    answer = client.post(f"/v1/{path}", json=body, headers={"X-Route-Models": f"{model}:{effort}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-model"] == f"{model}:{effort}"
    assert answer.headers["x-p2l-effort"] == effort
    assert "x-p2l-left-out-fields" not in answer.headers
    wanted = SENT[model][1][effort]
    if path == "responses" and SENT[model][0] == "openai":
        wanted = {"reasoning": {"effort": effort}}
    if path == "messages" and SENT[model][0] == "claude" and effort != "none":
        wanted = {"output_config": {"effort": effort}}  # it thinks without being told to
    assert thought(today.sent) == wanted


@pytest.mark.parametrize("path", bodies())
@pytest.mark.parametrize(("model", "effort"), COLUMNS)
def test_a_tool_comes_with_the_effort(
    today: Today, client: httpx.Client, model: str, effort: str, path: str
) -> None:
    """Where tools need another API of the provider, the effort goes there too."""
    tools: dict[str, Any] = {
        "chat/completions": TOOL,
        "responses": {"type": "function", "strict": False, **TOOL["function"]},  # type: ignore[dict-item]
        "messages": {"name": "look", "input_schema": {"type": "object"}},
    }
    body = bodies(tools=[tools[path]])[path]
    answer = client.post(f"/v1/{path}", json=body, headers={"X-Route-Models": f"{model}:{effort}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-effort"] == effort
    if SENT[model][0] == "openai":
        asked = thought(today.sent)
        assert asked.get("reasoning_effort", asked.get("reasoning", {}).get("effort")) == effort


@pytest.mark.parametrize(
    ("headers", "more", "left"),
    [
        ({}, {}, {"gpt-6-luna:none", "gpt-6-luna:low", "gpt-6-luna:xhigh"}),
        ({"X-Route-Effort": "low"}, {}, {"gpt-6-luna:low"}),
        # the lowest that is at least as high, else the highest
        ({"X-Route-Effort": "minimal"}, {}, {"gpt-6-luna:low"}),
        ({"X-Route-Effort": "medium"}, {}, {"gpt-6-luna:xhigh"}),
        ({"X-Route-Effort": "max"}, {}, {"gpt-6-luna:xhigh"}),
        ({}, {"p2l": {"effort": "none"}}, {"gpt-6-luna:none"}),
        ({}, {"reasoning_effort": "low"}, {"gpt-6-luna:low"}),
        ({}, {"reasoning": {"effort": "high"}}, {"gpt-6-luna:xhigh"}),
        ({}, {"thinking": {"type": "disabled"}}, {"gpt-6-luna:none"}),
        ({"X-Route-Effort": "none"}, {"reasoning_effort": "low"}, {"gpt-6-luna:none"}),
        ({"X-Route-Exclude": "gpt-6-luna:xhigh"}, {}, {"gpt-6-luna:none", "gpt-6-luna:low"}),
    ],
)
def test_an_effort_pins_the_columns(
    client: httpx.Client, headers: dict[str, str], more: dict[str, Any], left: set[str]
) -> None:
    only = {"X-Route-Models": "gpt-6-luna", **headers}
    body = {"model": "p2l", "messages": HELLO, **more}
    found = client.post("/v1/route", json=body, headers=only).json()
    able = {one["model"] for one in found["alternatives"] if one["eligible"]}
    assert able == left
    assert set(found["mix"]) <= left
    assert "gpt-6-luna" not in {one["model"] for one in found["alternatives"]}


@pytest.mark.parametrize(
    ("path", "more", "column"),
    [
        ("responses", {"reasoning": {"effort": "low"}}, "claude-opus-5-5:low"),
        ("messages", {"output_config": {"effort": "high"}}, "claude-opus-5-5:max"),
        ("messages", {"thinking": {"type": "adaptive"}}, "claude-opus-5-5:max"),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
         "claude-opus-5-5:low"),
        ("messages", {"thinking": {"type": "disabled"}}, "claude-opus-5-5:low"),
    ],
)  # fmt: skip
def test_each_surfaces_own_words_pin(
    today: Today, client: httpx.Client, path: str, more: dict[str, Any], column: str
) -> None:
    body = bodies(**more)[path]
    answer = client.post(f"/v1/{path}", json=body, headers={"X-Route-Models": "claude-opus-5-5"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-model"] == column
    assert answer.headers["x-p2l-effort"] == column.rpartition(":")[2]
    assert today.sent["output_config"] == {"effort": column.rpartition(":")[2]}


def test_a_model_without_columns_gets_the_pinned_effort(today: Today, client: httpx.Client) -> None:
    headers = {"X-Route-Models": "claude-sonnet-5-5", "X-Route-Effort": "low"}
    for path, body in bodies().items():
        for provider in today.all:
            provider.requests.clear()
        answer = client.post(f"/v1/{path}", json=body, headers=headers)
        assert answer.headers["x-p2l-model"] == "claude-sonnet-5-5"
        assert answer.headers["x-p2l-effort"] == "low"
        assert thought(today.sent)["output_config"] == {"effort": "low"}
    del headers["X-Route-Effort"]
    plain = client.post("/v1/chat/completions", json=bodies()["chat/completions"], headers=headers)
    assert "x-p2l-effort" not in plain.headers
    own = {**bodies()["chat/completions"], "reasoning_effort": "high"}
    asked = client.post("/v1/chat/completions", json=own, headers=headers)
    assert asked.headers["x-p2l-effort"] == "high"


def test_a_column_can_be_asked_for_by_name(today: Today, client: httpx.Client) -> None:
    body = {"model": "grok-4.7:xhigh", "messages": HELLO, "reasoning_effort": "low"}
    answer = client.post("/v1/chat/completions", json=body)
    assert (answer.headers["x-p2l-model"], answer.headers["x-p2l-effort"]) == (
        "grok-4.7:xhigh", "xhigh",
    )  # fmt: skip
    assert answer.json()["model"] == "grok-4.7:xhigh"
    assert (today.sent["model"], today.sent["reasoning_effort"]) == ("grok-4.7", "xhigh")
    today.others.requests.clear()
    # the model's own name: as if it had no columns
    plain = client.post("/v1/chat/completions", json={**body, "model": "grok-4.7"})
    assert (plain.headers["x-p2l-model"], plain.headers["x-p2l-effort"]) == ("grok-4.7", "low")
    assert today.sent["reasoning_effort"] == "low"
    both = client.post("/v1/chat/completions", json=body, headers={"X-Route-Effort": "low"})
    assert both.status_code == 400
    assert both.json()["error"]["code"] == "conflicting_routing_options"
    assert both.json()["error"]["param"] == "X-Route-Effort"


@pytest.mark.parametrize(
    ("headers", "more", "param"),
    [
        ({"X-Route-Effort": "huge"}, {}, "X-Route-Effort"),
        ({}, {"p2l": {"effort": 3}}, "p2l.effort"),
        ({"X-Route-Effort": "low"}, {"p2l": {"effort": "high"}}, "X-Route-Effort"),
        ({"X-Route-Models": "grok-4.7:none"}, {}, "X-Route-Models"),
        ({"X-Route-Exclude": "grok-4.7:"}, {}, "X-Route-Exclude"),
    ],
)
def test_bad_input_is_told_by_its_field(
    client: httpx.Client, headers: dict[str, str], more: dict[str, Any], param: str
) -> None:
    body = {"model": "p2l", "messages": HELLO, **more}
    answer = client.post("/v1/route", json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    unknown = client.post("/v1/chat/completions", json={**body, "p2l": {}, "model": "grok-4.7:no"})
    assert unknown.status_code == 404


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_bridged_response_repeats_the_effort_that_was_sent(
    client: httpx.Client, stream: bool
) -> None:
    body = {
        "model": "claude-opus-5-5:low", "input": "Hello", "stream": stream,
        "reasoning": {"effort": "high", "summary": "auto"},
    }  # fmt: skip
    answer = client.post("/v1/responses", json=body)
    text = answer.text
    if stream:
        text = next(
            line[6:]
            for line in text.splitlines()
            if line.startswith('data: {"type":"response.comp')
        )
    found = json.loads(text)
    assert found.get("response", found)["reasoning"] == {"effort": "low", "summary": "auto"}


def test_models_and_columns_are_listed(client: httpx.Client) -> None:
    names = [one["id"] for one in client.get("/v1/models").json()["data"]]
    at = names.index("grok-4.7")
    assert names[at : at + 3] == ["grok-4.7", "grok-4.7:low", "grok-4.7:xhigh"]
    for name in ("grok-4.7", "grok-4.7:low"):
        assert client.get(f"/v1/models/{name}").json()["id"] == name
    assert client.get("/v1/models/grok-4.7:no").status_code == 404


def test_the_leaderboard_has_the_columns(client: httpx.Client) -> None:
    board = client.post("/v1/leaderboard", json={"prompt": "Hello"}).json()["data"]
    rows = {row["model"]: row for row in board}
    low, own, high = (rows[f"gemini-3.8-flash{at}"] for at in (":low", "", ":high"))
    assert low["coefficient"] < own["coefficient"] == 0 < high["coefficient"]
    assert low["win_rate"] < 0.5 < high["win_rate"]
    assert low["expected_cost_usd"] < high["expected_cost_usd"]
    assert low["expected_output_tokens"] < high["expected_output_tokens"]
    assert [row["rank"] for row in board] == list(range(1, len(board) + 1))
    assert high["rank"] < own["rank"] < low["rank"]


def test_a_receipt_holds_the_effort_and_replays(client: httpx.Client) -> None:
    headers = {"X-Route-Seed": "5", "X-Route-Models": "gpt-6-luna"}
    body = {"model": "p2l", "messages": HELLO}
    rows = client.post("/v1/route", json=body, headers=headers).json()["alternatives"]
    cost = {row["model"]: row["expected_cost_usd"] for row in rows}
    headers["X-Cost-Budget"] = str((cost["gpt-6-luna:low"] + cost["gpt-6-luna:xhigh"]) / 2)
    answer = client.post("/v1/chat/completions", json=body, headers=headers)
    assert "," in answer.headers["x-p2l-mix"], "two columns of one model"
    receipt = client.get(f"/v1/decisions/{answer.headers['x-request-id']}").json()
    (attempt,) = receipt["attempts"]
    assert attempt["effort"] == answer.headers["x-p2l-effort"]
    assert attempt["decision"]["model"] == answer.headers["x-p2l-model"]
    assert replay(receipt).differences == []
    pinned = {"X-Route-Models": "claude-sonnet-5-5", "X-Route-Effort": "high"}
    other = client.post("/v1/chat/completions", json=body, headers=pinned)
    kept = client.get(f"/v1/decisions/{other.headers['x-request-id']}").json()
    assert kept["attempts"][0]["effort"] == "high"
    assert replay(kept).differences == []


def test_an_effort_that_cannot_be_sent_rules_its_column_out(client: httpx.Client) -> None:
    """A forced call does without thinking: then the lowest column stands for the model."""
    body = {"model": "p2l", "messages": HELLO, "tools": [TOOL], "tool_choice": "required"}
    headers = {"X-Route-Models": "qwen3.8-max"}
    found = client.post("/v1/route", json=body, headers=headers)
    rows = {row["model"]: row for row in found.json()["alternatives"]}
    assert found.json()["model"] == "qwen3.8-max:none"
    assert "cannot be sent with the effort" in rows["qwen3.8-max:medium"]["reason"]
    pinned = {**headers, "X-Route-Effort": "medium"}
    asked = client.post("/v1/chat/completions", json=body, headers=pinned)
    assert asked.headers["x-p2l-model"] == "qwen3.8-max:medium"
    assert asked.headers["x-p2l-effort"] == "none", "what was sent"
    claude = {"X-Route-Models": "claude-haiku-5-5"}
    assert client.post("/v1/route", json=body, headers=claude).json()["model"].endswith(":none")


SMALL = """
providers:
  main: {{kind: openai, base_url: "{url}", api_key_env: KEY, first_byte_timeout_s: {late}}}
models:
  gpt-5.2: {{provider: main, efforts: [low, high], input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  other: {{provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
  "llama3:8b": {{provider: main, input_usd_per_mtok: 0, output_usd_per_mtok: 0}}
{more}
scorer: {{fixed: {{gpt-5.2: 2, other: 1, "llama3:8b": 0}}}}
{extra}
"""
EXACT = """  "gpt-5.2:low": {provider: main, upstream_model: exact, input_usd_per_mtok: 1,
                  output_usd_per_mtok: 1}"""


@contextmanager
def small(
    extra: str = "", exact: bool = False, late: float = 20.0
) -> Iterator[tuple[FakeProvider, httpx.Client]]:
    """exact: whether a model has the name of a column. late: when an answer is, in seconds."""
    with ExitStack() as opened:
        provider = opened.enter_context(FakeProvider(api_key=KEY))
        more = EXACT if exact else ""
        config = SMALL.format(url=provider.base_url, extra=extra, late=late, more=more)
        url = opened.enter_context(LiveGateway(config, {"KEY": KEY})).url
        http = httpx.Client(base_url=url, trust_env=False, timeout=20)
        yield provider, opened.enter_context(http)


def routed(client: httpx.Client, model: str = "p2l", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(
        "/v1/chat/completions", json={"model": model, "messages": HELLO}, headers=named
    )


def test_an_exact_name_wins_over_a_column() -> None:
    with small(exact=True) as (provider, client):
        answer = routed(client, "gpt-5.2:low")
        assert answer.headers["x-p2l-model"] == "gpt-5.2:low"
        assert "x-p2l-effort" not in answer.headers
        assert provider.requests[-1].body["model"] == "exact"
        only = routed(client, X_Route_Models="gpt-5.2")
        assert only.headers["x-p2l-mix"] == "gpt-5.2:high=1"
        tagged = routed(client, "llama3:8b")
        assert tagged.headers["x-p2l-model"] == "llama3:8b"


def test_aliases_and_lists_may_name_columns() -> None:
    extra = """
aliases: {quick: "gpt-5.2:low", strong: gpt-5.2}
routing:
  models: ["gpt-5.2:low", other]
  profiles: {deep: {models: [gpt-5.2]}, one: {models: ["gpt-5.2:high"]}}
"""
    with small(extra) as (provider, client):
        assert routed(client, "quick").headers["x-p2l-model"] == "gpt-5.2:low"
        assert provider.requests[-1].body["reasoning_effort"] == "low"
        assert routed(client, "strong").headers["x-p2l-model"] == "gpt-5.2"
        assert routed(client).headers["x-p2l-mix"] == "gpt-5.2:low=1"
        assert routed(client, "p2l:deep").headers["x-p2l-mix"] == "gpt-5.2:high=1"
        low = routed(client, "p2l:deep", X_Route_Effort="low")
        assert low.headers["x-p2l-mix"] == "gpt-5.2:low=1"
        none = routed(client, "p2l:one", X_Route_Effort="low")
        assert none.status_code == 400
        assert "effort low" in none.json()["error"]["message"]


def test_a_key_may_use_a_column_or_all_of_a_model() -> None:
    extra = """
auth:
  keys:
    - {name: all, key_env: ALL, models: [gpt-5.2]}
    - {name: one, key_env: ONE, models: ["gpt-5.2:low"]}
"""
    with ExitStack() as opened:
        provider = opened.enter_context(FakeProvider(api_key=KEY))
        config = SMALL.format(url=provider.base_url, extra=extra, late=20, more="")
        environ = {"KEY": KEY, "ALL": "sk-all", "ONE": "sk-one"}
        url = opened.enter_context(LiveGateway(config, environ)).url

        def ask(key: str, model: str) -> httpx.Response:
            body = {"model": model, "messages": HELLO}
            head = {"authorization": f"Bearer {key}"}
            return httpx.post(f"{url}/v1/chat/completions", json=body, headers=head)

        assert ask("sk-all", "gpt-5.2").status_code == 200
        assert ask("sk-all", "gpt-5.2:high").status_code == 200
        assert ask("sk-all", "p2l").headers["x-p2l-model"] == "gpt-5.2:high"
        assert ask("sk-all", "other").status_code == 404
        assert ask("sk-one", "gpt-5.2").status_code == 404
        assert ask("sk-one", "gpt-5.2:high").status_code == 404
        assert ask("sk-one", "gpt-5.2:low").status_code == 200
        assert ask("sk-one", "p2l").headers["x-p2l-mix"] == "gpt-5.2:low=1"
        listed = httpx.get(f"{url}/v1/models", headers={"authorization": "Bearer sk-one"}).json()
        assert [one["id"] for one in listed["data"]] == ["p2l", "gpt-5.2:low"]


@pytest.mark.parametrize("place", ["all", "profile", "key"])
def test_the_router_may_choose_though_the_caller_names_an_effort(place: str) -> None:
    extra = {
        "all": "routing: {effort: route}",
        "profile": "routing: {profiles: {free: {effort: route}}}",
        "key": "auth: {keys: [{name: a, key_env: KEY, effort: route}]}",
    }[place]
    model = "p2l:free" if place == "profile" else "p2l"
    with small(extra) as (provider, client):
        client.headers["authorization"] = f"Bearer {KEY}"
        body = {"model": model, "messages": HELLO, "reasoning_effort": "low"}
        answer = client.post("/v1/chat/completions", json=body)
        assert answer.headers["x-p2l-model"] == "gpt-5.2:high"
        assert provider.requests[-1].body["reasoning_effort"] == "high"
        pinned = client.post("/v1/chat/completions", json=body, headers={"X-Route-Effort": "low"})
        assert pinned.headers["x-p2l-model"] == "gpt-5.2:low"
        if place != "all":
            other = "p2l" if place == "profile" else None
            if other is not None:
                usual = client.post("/v1/chat/completions", json={**body, "model": other})
                assert usual.headers["x-p2l-model"] == "gpt-5.2:low"


@pytest.mark.parametrize(
    "failing",
    [Behaviour(first_delay_s=4.0), Behaviour(status=500), Behaviour(status=429)],
    ids=["timeout", "error", "rate limit"],
)
def test_a_model_that_failed_is_not_asked_at_another_effort(failing: Behaviour) -> None:
    with small("routing: {breaker: {consecutive_failures: 1}}", late=1.0) as (provider, client):
        provider.script("gpt-5.2", failing)
        answer = routed(client)
        assert answer.headers["x-p2l-model"] == "other"
        asked = [request.body["model"] for request in provider.requests]
        assert asked == ["gpt-5.2", "other"]
        # it rests, at every effort
        again = routed(client)
        assert again.headers["x-p2l-mix"] == "other=1"
        found = client.post("/v1/route", json={"model": "p2l", "messages": HELLO}).json()
        reasons = {one["model"]: one["reason"] for one in found["alternatives"]}
        assert reasons["gpt-5.2:low"] == reasons["gpt-5.2:high"] is not None
        assert "resting" not in json.dumps(reasons["other"])


def loop_of(call: str) -> list[dict[str, Any]]:
    made = {"id": call, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    answer = {"role": "assistant", "content": None, "tool_calls": [made]}
    return [*HELLO, answer, {"role": "tool", "tool_call_id": call, "content": "found"}]


def test_a_tool_loop_keeps_the_column() -> None:
    made = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [made]}
    calls = Behaviour(
        deltas=({"tool_calls": [{"index": 0, **made}]},), message=message,
        finish_reason="tool_calls",
    )  # fmt: skip
    with small() as (provider, client):
        provider.script("gpt-5.2", calls)
        body: dict[str, Any] = {"model": "p2l", "messages": HELLO, "tools": [TOOL]}
        low = {"X-Route-Effort": "low"}
        first = client.post("/v1/chat/completions", json=body, headers=low)
        assert first.headers["x-p2l-model"] == "gpt-5.2:low"
        loop = {**body, "messages": loop_of("c1")}
        second = client.post("/v1/chat/completions", json=loop)
        assert second.headers["x-p2l-kept"] == "tool_loop"
        assert second.headers["x-p2l-model"] == "gpt-5.2:low", "the router would take high"
        # the caller changes the effort within the loop: the model stays
        other = {**loop, "reasoning_effort": "high"}
        third = client.post("/v1/chat/completions", json=other, headers={"X-Cost-Budget": "1"})
        assert third.headers["x-p2l-kept"] == "tool_loop"
        assert third.headers["x-p2l-model"] == "gpt-5.2:high"


def test_lengths_are_learnt_by_model_and_effort() -> None:
    with small() as (provider, client):
        usage = {"prompt_tokens": 10, "completion_tokens": 30_000, "total_tokens": 30_010}

        def expected() -> dict[str, float]:
            body = {"model": "p2l", "messages": HELLO}
            found = client.post("/v1/route", json=body).json()["alternatives"]
            return {one["model"]: one["expected_output_tokens"] for one in found}

        before = expected()
        assert before["gpt-5.2:low"] < before["gpt-5.2:high"]
        for _ in range(4):
            provider.script("gpt-5.2", Behaviour(usage=usage))
            routed(client, "gpt-5.2:high")
        after = expected()
        assert after["gpt-5.2:high"] > 1.5 * before["gpt-5.2:high"]
        assert after["gpt-5.2:low"] == before["gpt-5.2:low"]


def test_spend_is_told_by_column(tmp_path: Path) -> None:
    with small() as (_, client):
        routed(client, "gpt-5.2:low")
        routed(client, "gpt-5.2:high")
        routed(client, "gpt-5.2")
        shown = client.get("/admin/overview").json()["models"]
        assert [one["model"] for one in shown] == [
            "gpt-5.2:low", "gpt-5.2:high", "other", "llama3:8b",
        ]  # fmt: skip
        rows = client.get("/admin/requests").json()
        asked = {row["model"] for row in rows["data"]}
        assert asked == {"gpt-5.2:low", "gpt-5.2:high", "gpt-5.2"}
