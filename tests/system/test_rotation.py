"""A job whose every turn another provider answers, over a real gateway: none refuses what the
others have left in the conversation, on any surface, whole and streamed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from live_gateway import LiveGateway
from strict_providers import StrictProviders

Json = dict[str, Any]
# Each with its kind, what else its settings say, and a model.
PROVIDERS: dict[str, tuple[str, Json, str]] = {
    "openai": ("openai", {"profile": "openai", "responses": False}, "gpt-4.1"),
    "responses": ("openai", {"profile": "openai", "responses": True}, "gpt-5.6-terra"),
    "anthropic": ("anthropic", {}, "claude-sonnet-4-5"),
    "gemini": ("gemini", {}, "gemini-3.8-flash"),
    "mistral": ("openai", {"profile": "mistral"}, "mistral-large-4"),
    "deepseek": ("openai", {"profile": "deepseek"}, "deepseek-v4-pro"),
    "xai": ("openai", {}, "grok-4.7"),
    "groq": ("openai", {"profile": "groq"}, "llama-3.3-70b"),
    "vllm": ("openai", {"profile": "vllm"}, "qwen3-32b"),
    "kimi": ("anthropic", {}, "kimi-k3"),
    "azure": ("openai", {"profile": "openai", "responses": True}, "gpt-6.1-sol"),
    "google": ("gemini", {}, "gemini-3.1-pro-preview"),
}
ROUNDS = 9
# Longer than most take.
TOOL = "mcp__plugin_warehouse-inventory-manager__list_all_reservations_of_a_given_customer"


@pytest.fixture(scope="module")
def providers() -> Iterator[StrictProviders]:
    with StrictProviders() as providers:
        yield providers


@pytest.fixture(scope="module")
def client(providers: StrictProviders) -> Iterator[httpx.Client]:
    settings: Json = {"providers": {}, "models": {}}
    for name, (kind, options, model) in PROVIDERS.items():
        base_url = providers.base_url(name)
        own = {"kind": kind, "base_url": base_url, "api_key_env": "KEY", **options}
        settings["providers"][name] = own
        settings["models"][model] = {
            "provider": name, "input_usd_per_mtok": 1, "output_usd_per_mtok": 2,
            "capabilities": ["tools"],
        }  # fmt: skip
    settings["scorer"] = {"fixed": dict.fromkeys(settings["models"], 0.0) | {"other": -1.0}}
    with (
        LiveGateway(json.dumps(settings), {"KEY": "sk-1"}) as gateway,
        httpx.Client(base_url=gateway.url, timeout=30) as client,
    ):
        yield client


def events_of(text: str) -> list[Json]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


class ChatCaller:
    path = "/v1/chat/completions"

    def __init__(self) -> None:
        self.turns: list[Json] = [{"role": "system", "content": "Be brief."}]
        function = {"name": TOOL, "parameters": {"type": "object", "properties": {}}}
        self.fields: Json = {"tools": [{"type": "function", "function": function}]}

    def body(self) -> Json:
        return {"messages": self.turns, "max_completion_tokens": 9000, **self.fields}

    def says(self, text: str) -> None:
        self.turns.append({"role": "user", "content": text})

    def takes(self, answer: Json) -> str | None:
        message = answer["choices"][0]["message"]
        self.turns.append(message)
        calls = message.get("tool_calls") or []
        assert [call["function"]["name"] for call in calls] == [TOOL] * len(calls)
        return calls[0]["id"] if calls else None

    def returns(self, identifier: str) -> None:
        self.turns.append({"role": "tool", "tool_call_id": identifier, "content": "here"})

    def whole(self, events: list[Json]) -> Json:
        message: Json = {"role": "assistant", "content": ""}
        for event in events:
            for choice in event.get("choices") or ():
                for name, value in choice["delta"].items():
                    if name in ("thinking_blocks", "reasoning_details"):
                        message[name] = [*message.get(name, []), *value]
                    elif name == "tool_calls":
                        _gather(message.setdefault(name, []), value)
                    elif isinstance(value, str) and name != "role":
                        message[name] = (message.get(name) or "") + value
                    elif name != "role":
                        message[name] = value
        return {"choices": [{"message": message}]}


def _gather(calls: list[Json], more: list[Json]) -> None:
    for call in more:
        if call["index"] == len(calls):
            calls.append({**call, "function": {"name": call["function"]["name"], "arguments": ""}})
        calls[call["index"]]["function"]["arguments"] += call["function"].get("arguments") or ""


class MessagesCaller(ChatCaller):
    path = "/v1/messages"

    def __init__(self) -> None:
        self.turns = []
        tool = {"name": TOOL, "input_schema": {"type": "object", "properties": {}}}
        self.fields = {"tools": [tool], "system": "Be brief."}

    def body(self) -> Json:
        thinking = {"type": "enabled", "budget_tokens": 2000}
        return {"messages": self.turns, "max_tokens": 9000, "thinking": thinking, **self.fields}

    def takes(self, answer: Json) -> str | None:
        self.turns.append({"role": "assistant", "content": answer["content"]})
        calls = [block for block in answer["content"] if block["type"] == "tool_use"]
        assert [call["name"] for call in calls] == [TOOL] * len(calls)
        return calls[0]["id"] if calls else None

    def returns(self, identifier: str) -> None:
        result = {"type": "tool_result", "tool_use_id": identifier, "content": "here"}
        self.turns.append({"role": "user", "content": [result]})

    def whole(self, events: list[Json]) -> Json:
        blocks: list[Json] = []
        for event in events:
            if event["type"] == "content_block_start":
                blocks.append({**event["content_block"], "json": ""})
            elif event["type"] == "content_block_delta":
                delta = event["delta"]
                for name in ("thinking", "signature", "text"):
                    if name in delta:
                        blocks[-1][name] += delta[name]
                blocks[-1]["json"] += delta.get("partial_json", "")
        for block in blocks:
            said = block.pop("json")
            if block["type"] == "tool_use":
                block["input"] = json.loads(said or "{}")
        return {"content": blocks}


class ResponsesCaller(ChatCaller):
    path = "/v1/responses"

    def __init__(self) -> None:
        self.turns = []
        tool = {"type": "function", "name": TOOL, "parameters": {"type": "object"}}
        self.fields = {"tools": [tool], "instructions": "Be brief."}

    def body(self) -> Json:
        include = ["reasoning.encrypted_content"]
        return {"input": self.turns, "store": False, "include": include, **self.fields}

    def takes(self, answer: Json) -> str | None:
        self.turns += answer["output"]
        calls = [item for item in answer["output"] if item["type"] == "function_call"]
        assert [call["name"] for call in calls] == [TOOL] * len(calls)
        return calls[0]["call_id"] if calls else None

    def returns(self, identifier: str) -> None:
        self.turns.append({"type": "function_call_output", "call_id": identifier, "output": "here"})

    def whole(self, events: list[Json]) -> Json:
        response: Json = events[-1]["response"]
        return response


CALLERS: Mapping[str, type[ChatCaller]] = {
    "chat": ChatCaller, "messages": MessagesCaller, "responses": ResponsesCaller,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", CALLERS)
def test_a_job_survives_another_provider_at_every_turn(
    client: httpx.Client, providers: StrictProviders, surface: str, stream: bool, seed: int
) -> None:
    caller, chance = CALLERS[surface](), random.Random(seed)
    providers.refusals.clear()
    pending: str | None = None
    asked: list[str] = []
    for number in range(2 * ROUNDS):
        if pending is not None:
            caller.returns(pending)
        else:
            caller.says(f"step {number}")
        # half the time the same one goes on
        name = asked[-1] if asked and chance.random() < 0.5 else chance.choice([*PROVIDERS])
        asked.append(name)
        body = {"model": PROVIDERS[name][2], "stream": stream, **caller.body()}
        reply = client.post(caller.path, json=body)
        assert reply.status_code == 200, (asked, providers.refusals, reply.text)
        answer = caller.whole(events_of(reply.text)) if stream else reply.json()
        pending = caller.takes(answer)
    assert providers.refusals == [], asked


SIGNERS = ("anthropic", "kimi", "gemini", "google", "responses", "azure", "deepseek")


@pytest.mark.parametrize("name", SIGNERS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", CALLERS)
def test_who_goes_on_has_its_own_thoughts_back(
    client: httpx.Client, providers: StrictProviders, surface: str, stream: bool, name: str
) -> None:
    caller = CALLERS[surface]()
    providers.returned.clear()
    caller.says("step")
    for _ in range(2):
        body = {"model": PROVIDERS[name][2], "stream": stream, **caller.body()}
        reply = client.post(caller.path, json=body)
        answer = caller.whole(events_of(reply.text)) if stream else reply.json()
        pending = caller.takes(answer)
        if pending is not None:
            caller.returns(pending)
    assert providers.returned[name] == 1
