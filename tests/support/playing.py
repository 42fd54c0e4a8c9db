"""Strict providers whose models play a job: what they are asked is read the same from every
dialect, and a player says what they answer.

    stage = Stage(player)
    with PlayingOpenAI(stage), PlayingClaude(stage), PlayingGemini(stage), PlayingVllm(stage): ...

A request that the real provider would refuse is refused, a fault strikes whom it is meant for, and
the stage keeps what was served, so that a ledger can be held against it.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fake_openai import call as function_call
from fake_openai import custom_call, reasoning, text
from fake_provider import Behaviour, FakeProvider, Fault, Recorded
from strict_models import ClaudeToday, GeminiToday, OpenAIToday

Json = dict[str, Any]
THOUGHT = "Let me think about the next step. "
_THOUGHT_TOKENS = 16
_PIECE = 24
# The events of a stream of the Responses API before the text: its three, seven for a thought with
# one part and two pieces, two that begin the text. And of the Messages API: its own, the first
# block's ping and what a thought takes; the text begins with one more.
_RESPONSES_EVENTS = 3 + 7 + 2
_MESSAGES_EVENTS, _MESSAGES_THOUGHT = 3, 5


@dataclass(frozen=True)
class Tool:
    """One that a request offers. properties: of its arguments; custom: it takes one text.
    namespace: the group that it lies in, empty for none."""

    name: str
    properties: tuple[str, ...] = ()
    custom: bool = False
    namespace: str = ""


@dataclass(frozen=True)
class Asked:
    """tools: by name. results: what the tools have said since the model spoke, said: what the user
    said last since then; wants: the JSON schema of the answer."""

    model: str
    tools: Mapping[str, Tool]
    results: str
    said: str
    wants: Json | None = None


@dataclass(frozen=True)
class Call:
    """arguments: a text for a custom tool."""

    name: str
    arguments: Json | str


@dataclass(frozen=True)
class Answer:
    said: str
    calls: tuple[Call, ...] = ()


class Player(Protocol):
    """Decides for all models of all providers."""

    def answer(self, asked: Asked) -> Answer:
        """The next answer; the same one where the same is asked again."""


@dataclass
class Strike:
    """A fault: a status, or `cut` for a stream that breaks. It strikes `count` requests that offer
    tools, after `skip` of them; one: all at the provider that is asked first."""

    kind: str
    count: int = 1
    skip: int = 0
    one: bool = False
    provider: str | None = None

    def strikes(self, provider: str) -> bool:
        """Whether it strikes this request, which is counted."""
        if self.one and self.provider is None:
            self.provider = provider
        if self.count <= 0 or self.provider not in (None, provider):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.count -= 1
        return True


@dataclass
class Served:
    """A request that reached a provider. refused: in which words; struck: by which fault."""

    provider: str
    model: str
    recorded: Recorded
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refused: str | None = None
    struck: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether an answer arrived to its end."""
        return self.recorded.finished and self.refused is None and self.struck is None


class Stage:
    """What the providers of one run share."""

    def __init__(self, player: Player, strikes: Sequence[Strike] = ()) -> None:
        self.served: list[Served] = []
        self._player = player
        self._strikes = list(strikes)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """Another one each time."""
        with self._lock:
            return next(self._numbers)

    def play(self, served: Served, asked: Asked) -> Answer | Strike:
        """The answer, or the fault in place of it. A cut answer is one that was given."""
        with self._lock:
            self.served.append(served)
            struck = None
            if asked.tools:
                struck = next((s for s in self._strikes if s.strikes(served.provider)), None)
            if struck is not None:
                served.struck = struck.kind
                if struck.kind != "cut":
                    return struck
            return self._player.answer(asked)

    def refuse(self, served: Served, behaviour: Behaviour) -> None:
        """Notes what a provider did not take."""
        served.refused = str((behaviour.error or {}).get("message", behaviour.status))
        with self._lock:
            self.served.append(served)


class _Playing(FakeProvider):
    """A strict provider in front of the stage. Dialects say how they are read and answered."""

    stage: Stage
    name: str

    def _played(self, request: Recorded, strict: Behaviour) -> Behaviour:
        model = self._model_of(request)
        if model is None:
            return strict
        served = Served(self.name, model, request)
        if strict.status != 200:
            self.stage.refuse(served, strict)
            return strict
        asked = self._asked(request)
        played = self.stage.play(served, asked)
        if isinstance(played, Strike):
            error = self._error(int(played.kind))
            return Behaviour(status=int(played.kind), error=error, headers={"retry-after": "1"})
        served.prompt_tokens = _tokens(request.body)
        calls = [[call.name, call.arguments] for call in played.calls]
        served.completion_tokens = _tokens([played.said, calls]) + _THOUGHT_TOKENS
        answered = self._answered(request, played, served)
        cut: Json = {}
        if served.struck is not None:
            cut = {"fault": Fault.CUT, "fault_after": self._events_before_words(answered) + 1}
        return Behaviour(**answered, **cut)

    def _events_before_words(self, answered: Json) -> int:
        """How many events of a stream come before the first words of its text: a stream that
        breaks later cannot be begun anew at another provider."""
        return 1 + sum("reasoning_content" in delta for delta in answered["deltas"])

    def _model_of(self, request: Recorded) -> str | None:
        """None for what is no request to a model."""
        body = request.body
        return str(body["model"]) if isinstance(body, dict) and "model" in body else None

    def _asked(self, request: Recorded) -> Asked:
        raise NotImplementedError

    def _answered(self, request: Recorded, answer: Answer, served: Served) -> Json:
        raise NotImplementedError

    def _error(self, status: int) -> Json:
        kind = "rate_limit_exceeded" if status == 429 else None
        said = "Rate limit reached" if status == 429 else "The server had an error"
        return {"message": said, "type": "requests", "param": None, "code": kind}


class PlayingVllm(_Playing):
    """A server of open models: it takes everything, and shows its thoughts."""

    def __init__(self, stage: Stage, name: str = "vllm") -> None:
        super().__init__()
        self.stage, self.name = stage, name

    def _behaviour(self, request: Recorded) -> Behaviour:
        return self._played(request, super()._behaviour(request))

    def _asked(self, request: Recorded) -> Asked:
        return _asked_of_chat(request.body)

    def _answered(self, request: Recorded, answer: Answer, served: Served) -> Json:
        return _chat_answer(self.stage, answer, served, thought=THOUGHT)


class PlayingOpenAI(_Playing, OpenAIToday):
    """On Chat Completions and on Responses."""

    def __init__(self, stage: Stage, name: str = "openai") -> None:
        super().__init__()
        self.stage, self.name = stage, name

    def _behaviour(self, request: Recorded) -> Behaviour:
        return self._played(request, super()._behaviour(request))

    def _asked(self, request: Recorded) -> Asked:
        body = request.body
        return _asked_of_chat(body) if "messages" in body else _asked_of_responses(body)

    def _answered(self, request: Recorded, answer: Answer, served: Served) -> Json:
        if "messages" in request.body:
            return _chat_answer(self.stage, answer, served)
        blocks = [reasoning(THOUGHT)]
        blocks += [text(answer.said)] if answer.said else []
        offered = _asked_of_responses(request.body).tools
        for made in answer.calls:
            number = f"call_{self.stage.number():012d}"
            group = offered[made.name].namespace
            if isinstance(made.arguments, str):
                block = custom_call(number, made.name, made.arguments)
            else:
                block = function_call(number, made.name, json.dumps(made.arguments))
            blocks.append(block | ({"namespace": group} if group else {}))
        usage = {
            "input_tokens": served.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": served.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": _THOUGHT_TOKENS},
            "total_tokens": served.prompt_tokens + served.completion_tokens,
        }
        return {"blocks": tuple(blocks), "usage": usage}

    def _events_before_words(self, answered: Json) -> int:
        if "blocks" in answered:
            return _RESPONSES_EVENTS
        return super()._events_before_words(answered)


class PlayingClaude(_Playing, ClaudeToday):
    """It takes back only the thoughts that it has signed itself."""

    def __init__(self, stage: Stage, name: str = "anthropic") -> None:
        super().__init__()
        self.stage, self.name = stage, name
        self._signed: set[str] = set()

    def _behaviour(self, request: Recorded) -> Behaviour:
        strict = super()._behaviour(request)
        if strict.status == 200 and self._model_of(request) is not None:
            for number, message in enumerate(request.body["messages"]):
                for block in _blocks(message):
                    if block["type"] == "thinking" and block["signature"] not in self._signed:
                        said = f"messages.{number}: Invalid `signature` in `thinking` block"
                        error = {"type": "invalid_request_error", "message": said}
                        strict = Behaviour(status=400, error=error)
        return self._played(request, strict)

    def _asked(self, request: Recorded) -> Asked:
        body = request.body
        tools = [
            Tool(tool["name"], tuple(tool["input_schema"].get("properties", ())))
            for tool in body.get("tools") or ()
            if "input_schema" in tool
        ]
        results: list[str] = []
        said = ""
        for message in body["messages"]:
            if message["role"] == "assistant":
                results, said = [], ""
                continue
            for block in _blocks(message):
                if block["type"] == "tool_result":
                    results.append(json.dumps(block.get("content")))
                elif block["type"] == "text" and message["role"] == "user":
                    said = block["text"]
        wants = ((body.get("output_config") or {}).get("format") or {}).get("schema")
        return Asked(body["model"], _by_name(tools), "\n".join(results), said, wants)

    def _answered(self, request: Recorded, answer: Answer, served: Served) -> Json:
        blocks: list[Json] = []
        if (request.body.get("thinking") or {}).get("type") in ("adaptive", "enabled"):
            signature = f"EqQB{self.stage.number():012d}"
            self._signed.add(signature)
            blocks.append({"type": "thinking", "thinking": THOUGHT, "signature": signature})
        if answer.said:
            blocks.append({"type": "text", "text": answer.said})
        for made in answer.calls:
            number = f"toolu_{self.stage.number():012d}"
            blocks.append(
                {"type": "tool_use", "id": number, "name": made.name, "input": made.arguments}
            )
        usage = {
            "input_tokens": served.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": served.completion_tokens,
            "service_tier": "standard",
        }
        return {"blocks": tuple(blocks), "usage": usage}

    def _events_before_words(self, answered: Json) -> int:
        thinks = answered["blocks"][0]["type"] == "thinking"
        return _MESSAGES_EVENTS + (_MESSAGES_THOUGHT if thinks else 0)

    def _error(self, status: int) -> Json:
        kind = "rate_limit_error" if status == 429 else "api_error"
        return {"type": kind, "message": "This request would exceed a limit."}


class PlayingGemini(_Playing, GeminiToday):
    """It takes back only the signatures that it has given out."""

    def __init__(self, stage: Stage, name: str = "gemini") -> None:
        super().__init__()
        self.stage, self.name = stage, name
        self._signed = {"context_engineering_is_the_way_to_go", "skip_thought_signature_validator"}

    def _behaviour(self, request: Recorded) -> Behaviour:
        strict = super()._behaviour(request)
        if strict.status == 200 and self._model_of(request) is not None:
            for content in request.body["contents"]:
                for part in content["parts"]:
                    if part.get("thoughtSignature", next(iter(self._signed))) not in self._signed:
                        error = {"status": "INVALID_ARGUMENT", "message": "Corrupted signature."}
                        strict = Behaviour(status=400, error=error)
        return self._played(request, strict)

    def _model_of(self, request: Recorded) -> str | None:
        _, found, rest = request.path.partition("/models/")
        return rest.partition(":")[0] if found and ":" in rest else None

    def _asked(self, request: Recorded) -> Asked:
        body = request.body
        tools = [
            Tool(one["name"], tuple(_properties(one)))
            for tool in body.get("tools") or ()
            for one in tool.get("functionDeclarations", ())
        ]
        results: list[str] = []
        said = ""
        for content in body["contents"]:
            if content["role"] == "model":
                results, said = [], ""
            for part in content["parts"]:
                if "functionResponse" in part:
                    results.append(json.dumps(part["functionResponse"]["response"]))
                elif content["role"] == "user":
                    said = part.get("text", said)
        wants = (body.get("generationConfig") or {}).get("responseJsonSchema")
        model = self._model_of(request) or ""
        return Asked(model, _by_name(tools), "\n".join(results), said, wants)

    def _answered(self, request: Recorded, answer: Answer, served: Served) -> Json:
        blocks: list[Json] = [{"text": THOUGHT, "thought": True}]
        blocks += [{"text": answer.said}] if answer.said else []
        for made in answer.calls:
            # base64, as the real ones are
            signature = f"CsoB{self.stage.number():012d}"
            self._signed.add(signature)
            made_call = {"name": made.name, "args": made.arguments}
            blocks.append({"functionCall": made_call, "thoughtSignature": signature})
        usage = {
            "promptTokenCount": served.prompt_tokens,
            "candidatesTokenCount": served.completion_tokens - _THOUGHT_TOKENS,
            "thoughtsTokenCount": _THOUGHT_TOKENS,
            "totalTokenCount": served.prompt_tokens + served.completion_tokens,
        }
        return {"blocks": tuple(blocks), "usage": usage}

    def _events_before_words(self, answered: Json) -> int:
        return 1

    def _error(self, status: int) -> Json:
        kind = "RESOURCE_EXHAUSTED" if status == 429 else "INTERNAL"
        return {"status": kind, "message": "scripted"}


def _asked_of_chat(body: Json) -> Asked:
    tools = [
        Tool(tool["function"]["name"], tuple(_properties(tool["function"])))
        for tool in body.get("tools") or ()
        if tool["type"] == "function"
    ]
    results: list[str] = []
    said = ""
    for message in body["messages"]:
        if message["role"] == "assistant":
            results, said = [], ""
        elif message["role"] == "tool":
            results.append(json.dumps(message["content"]))
        elif message["role"] == "user":
            said = _text(message["content"])
    wanted = body.get("response_format") or {}
    wants = (wanted.get("json_schema") or {}).get("schema")
    return Asked(body["model"], _by_name(tools), "\n".join(results), said, wants)


def _asked_of_responses(body: Json) -> Asked:
    items = body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    results: list[str] = []
    said = ""
    offered = list(body.get("tools") or ())
    for item in items:
        kind = item.get("type", "message")
        if kind == "additional_tools":
            offered += item["tools"]
        elif kind.endswith("_output"):
            results.append(json.dumps(item["output"]))
        elif kind != "message" or item["role"] == "assistant":
            results, said = [], ""
        elif item["role"] == "user":
            said = _text(item["content"])
    wanted = (body.get("text") or {}).get("format") or {}
    tools = list(_tools_of_responses(offered))
    return Asked(body["model"], _by_name(tools), "\n".join(results), said, wanted.get("schema"))


def _tools_of_responses(offered: Sequence[Json], namespace: str = "") -> Iterator[Tool]:
    for tool in offered:
        if tool["type"] == "function":
            yield Tool(tool["name"], tuple(_properties(tool)), namespace=namespace)
        elif tool["type"] == "custom":
            yield Tool(tool["name"], custom=True, namespace=namespace)
        elif tool["type"] == "namespace":
            yield from _tools_of_responses(tool["tools"], tool["name"])


def _chat_answer(stage: Stage, answer: Answer, served: Served, thought: str = "") -> Json:
    calls = [
        {
            "id": f"call_{stage.number():012d}",
            "type": "function",
            "function": {"name": made.name, "arguments": json.dumps(made.arguments)},
        }
        for made in answer.calls
    ]
    deltas = [{"reasoning_content": piece} for piece in _pieces(thought)]
    deltas += [{"content": piece} for piece in _pieces(answer.said)]
    for index, made in enumerate(calls):
        function = made["function"]
        begun = {**made, "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [{"index": index, **begun}]})
        for piece in _pieces(function["arguments"]):
            part = {"index": index, "function": {"arguments": piece}}
            deltas.append({"tool_calls": [part]})
    usage = {
        "prompt_tokens": served.prompt_tokens,
        "completion_tokens": served.completion_tokens,
        "total_tokens": served.prompt_tokens + served.completion_tokens,
    }
    message: Json = {"content": answer.said or None}
    message |= {"reasoning_content": thought} if thought else {}
    message |= {"tool_calls": calls} if calls else {}
    reason = "tool_calls" if calls else "stop"
    return {"deltas": tuple(deltas), "message": message, "finish_reason": reason, "usage": usage}


def _by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    return {tool.name: tool for tool in tools}


def _properties(function: Json) -> Sequence[str]:
    schema = function.get("parameters") or function.get("parametersJsonSchema") or {}
    return list(schema.get("properties") or ())


def _blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or ())


def _pieces(said: str) -> list[str]:
    return [said[at : at + _PIECE] for at in range(0, len(said), _PIECE)]


def _tokens(value: Any) -> int:
    return max(1, len(json.dumps(value)) // 4)
