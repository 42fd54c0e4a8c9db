"""Real answers of every wire format, whole and streamed, and what must hold of each when something
in it is not what it should be."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from in_process import InProcess, Told, in_process
from merge import sse_events
from odd_values import GONE, ODD, Path, changed, dumped, places, spelled
from pydantic import BaseModel, ValidationError
from sdk_types import adapter_of

from server.ledger.attempt import Outcome

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from anthropic.types import Message, RawMessageStreamEvent
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.responses import Response, ResponseStreamEvent

Json = dict[str, Any]
PROVIDERS = {"chat": "openai", "bridged": "openai", "anthropic": "anthropic", "gemini": "gemini"}
CONFIG = """
providers:
  chat: {{kind: openai, base_url: "http://chat.invalid/v1"}}
  bridged: {{kind: openai, base_url: "http://bridged.invalid/v1", responses: true}}
  anthropic: {{kind: anthropic, base_url: "http://anthropic.invalid"}}
  gemini: {{kind: gemini, base_url: "http://gemini.invalid"}}
models:
{models}
scorer: {{fixed: {{chat: 1, bridged: 1, anthropic: 1, gemini: 1}}}}
routing:
  retries: 0
  fallbacks: 0
  breaker: {{consecutive_failures: 1000000, min_requests: 1000000}}
  window_budgets: [{{amount_usd: 1000000000, window_s: 3600}}]
storage: {{url: "sqlite:///{folder}/ledger.db"}}
limits: {{max_concurrency: 8}}
"""
_MODEL = (
    "  {name}: {{provider: {name}, upstream_model: {upstream}, input_usd_per_mtok: 1,"
    " output_usd_per_mtok: 5, context_window: 1000000, expected_output_tokens: 50,"
    " max_output_tokens: 8000, capabilities: [tools, vision, json_schema, audio]{more}}}"
)
UPSTREAM = {"chat": "model-x", "bridged": "gpt-5.6-sol", "anthropic": "claude-sonnet-4-5",
            "gemini": "gemini-2.5-flash"}  # fmt: skip
PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}


def config(folder: object) -> str:
    """The configuration of a gateway with a model of each wire format, named like its provider."""
    models = [
        _MODEL.format(name=n, upstream=u, more=", responses: true" if n == "bridged" else "")
        for n, u in UPSTREAM.items()
    ]
    return CONFIG.format(models="\n".join(models), folder=folder)


_TOOL = {"name": "look", "parameters": {"type": "object", "properties": {}}}


def request(surface: str, model: str, *, stream: bool) -> Json:
    """A request of one of the callers' APIs, with a tool."""
    turns = [{"role": "user", "content": "Hello"}]
    if surface == "chat":
        more: Json = {"messages": turns, "tools": [{"type": "function", "function": _TOOL}]}
        more |= {"stream_options": {"include_usage": True}} if stream else {}
    elif surface == "messages":
        tool = {"name": "look", "input_schema": _TOOL["parameters"]}
        more = {"messages": turns, "tools": [tool], "max_tokens": 500}
    elif surface == "responses":
        tool = {"type": "function", **_TOOL}
        more = {"input": "Hello", "tools": [tool], "include": ["reasoning.encrypted_content"]}
    elif surface == "completions":
        more = {"prompt": "Hello"}
    else:
        return {"model": model, "input": ["Hello"]}
    return {"model": model, "stream": stream, **more}


CHAT_USAGE = {
    "prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140, "cost": 0.0004,
    "is_byok": False, "cost_details": {"upstream_inference_cost": 0.1},
    "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 5, "audio_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 1},
}  # fmt: skip
LOGPROBS = {"content": [{"token": "H", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]}
CALL = {
    "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'},
    "extra_content": {"google": {"thought_signature": "sig"}},
}  # fmt: skip
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
DETAIL = {"type": "reasoning.encrypted", "data": "abc", "id": "rs_1", "index": 0}
CHAT_MESSAGE = {
    "role": "assistant", "content": "Hello there", "refusal": None, "reasoning_content": "Hm.",
    "reasoning_details": [DETAIL], "thinking_blocks": [THOUGHT], "annotations": [],
    "tool_calls": [CALL], "extra_content": {"google": {"thought_signature": "sig"}},
}  # fmt: skip
CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "model-x",
    "service_tier": "default", "system_fingerprint": "fp",
    "choices": [{"index": 0, "message": CHAT_MESSAGE, "logprobs": LOGPROBS,
                 "finish_reason": "tool_calls", "native_finish_reason": "tool_use"}],
    "usage": CHAT_USAGE,
}  # fmt: skip
PLAIN_CHAT = {
    **CHAT, "choices": [{"index": 0, "finish_reason": "stop", "message": {
        "role": "assistant", "content": "Hello there", "refusal": "No."}}],
}  # fmt: skip
PARTS_CHAT = {
    **CHAT, "choices": [{"index": 0, "finish_reason": {"type": "stop"}, "message": {
        "role": "assistant", "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
            {"type": "text", "text": "Hello"}], "reasoning": "Hm."}}],
}  # fmt: skip


def _chunk(delta: Json, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": None, **more}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "model-x", "service_tier": "default", "choices": [choice]}  # fmt: skip


CHAT_EVENTS = [
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"reasoning_content": "Hm.", "reasoning_details": [DETAIL],
            "thinking_blocks": [THOUGHT]}),
    _chunk({"content": "Hello"}, logprobs=LOGPROBS),
    _chunk({"refusal": "No."}),
    _chunk({"tool_calls": [{**CALL, "index": 0, "function": {"name": "look", "arguments": ""}}]}),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]}),
    _chunk({}, finish_reason="tool_calls"),
    {**_chunk({}), "choices": [], "usage": CHAT_USAGE},
]  # fmt: skip
PLAIN_CHAT_EVENTS = [
    _chunk({"role": "assistant", "content": "Hello"}),
    _chunk({"content": " there"}),
    {**_chunk({}, finish_reason="stop"), "usage": CHAT_USAGE},
]
COMPLETION = {
    "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "model-x",
    "choices": [{"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}],
    "usage": CHAT_USAGE,
}  # fmt: skip
COMPLETION_EVENTS = [
    {**COMPLETION, "usage": None, "choices": [{**COMPLETION["choices"][0], "finish_reason": None}]},
    COMPLETION,
]
EMBEDDINGS = {
    "object": "list", "model": "model-x", "usage": {"prompt_tokens": 7, "total_tokens": 7},
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
}  # fmt: skip
MESSAGE_USAGE = {
    "input_tokens": 100, "output_tokens": 40, "cache_read_input_tokens": 10,
    "cache_creation_input_tokens": 5, "service_tier": "standard",
    "cache_creation": {"ephemeral_1h_input_tokens": 2, "ephemeral_5m_input_tokens": 3},
    "output_tokens_details": {"thinking_tokens": 5},
    "server_tool_use": {"web_search_requests": 1},
    "iterations": [{"input_tokens": 50, "output_tokens": 20},
                   {"input_tokens": 50, "output_tokens": 20}],
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "abc"},
        {"type": "text", "text": "Hello", "citations": None},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
    ],
    "stop_reason": "tool_use", "stop_sequence": None, "usage": MESSAGE_USAGE,
}  # fmt: skip


def _block(index: int, block: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": d} for d in deltas),
        {"type": "content_block_stop", "index": index},
    ]


MESSAGE_EVENTS = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None,
                                          "usage": {"input_tokens": 100, "output_tokens": 1}}},
    {"type": "ping"},
    *_block(0, {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm."},
            {"type": "signature_delta", "signature": "sig"}),
    *_block(1, {"type": "redacted_thinking", "data": "abc"}),
    *_block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"}),
    *_block(3, {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a": 1}'}),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
     "usage": MESSAGE_USAGE},
    {"type": "message_stop"},
]  # fmt: skip
GEMINI_USAGE = {
    "promptTokenCount": 100, "candidatesTokenCount": 40, "totalTokenCount": 145,
    "thoughtsTokenCount": 5, "toolUsePromptTokenCount": 1, "cachedContentTokenCount": 10,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
}  # fmt: skip
GEMINI_PARTS = [
    {"text": "Hm.", "thought": True, "thoughtSignature": "sig"},
    {"text": "Hello", "thoughtSignature": "sig"},
    {"functionCall": {"id": "c1", "name": "look", "args": {"a": 1}}, "thoughtSignature": "sig"},
]


def _gemini(parts: Sequence[Json], **more: Any) -> Json:
    return {
        "candidates": [{"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}],
        "promptFeedback": {"safetyRatings": []}, "usageMetadata": GEMINI_USAGE,
        "modelVersion": "gemini-2.5-flash", "responseId": "resp-1",
    }  # fmt: skip


GEMINI = _gemini(GEMINI_PARTS, finishReason="STOP")
GEMINI_BLOCKED = {
    "promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": GEMINI_USAGE,
    "modelVersion": "gemini-2.5-flash", "responseId": "resp-1",
}  # fmt: skip
GEMINI_EVENTS = [
    _gemini(GEMINI_PARTS[:1]), _gemini(GEMINI_PARTS[1:2]),
    _gemini(GEMINI_PARTS[2:], finishReason="STOP"),
]  # fmt: skip
RESPONSE_USAGE = {
    "input_tokens": 100, "output_tokens": 40, "total_tokens": 140, "cost": 0.0004,
    "input_tokens_details": {"cached_tokens": 10}, "output_tokens_details": {"reasoning_tokens": 5},
}  # fmt: skip
REASONING = {"type": "reasoning", "id": "rs_1", "status": "completed", "encrypted_content": "abc",
             "summary": [{"type": "summary_text", "text": "Hm."}]}  # fmt: skip
SAID = {
    "type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "phase": "final",
    "content": [{"type": "output_text", "text": "Hello", "annotations": [],
                 "logprobs": LOGPROBS["content"]}, {"type": "refusal", "refusal": "No."}],
}  # fmt: skip
FUNCTION_CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look",
                 "arguments": '{"a": 1}', "status": "completed"}  # fmt: skip
CUSTOM_CALL = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "look",
               "input": "x", "status": "completed"}  # fmt: skip
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None,
    "incomplete_details": None, "model": "gpt-5.6-sol", "service_tier": "default", "tools": [],
    "parallel_tool_calls": True, "tool_choice": "auto", "metadata": {},
    "output": [REASONING, SAID, FUNCTION_CALL, CUSTOM_CALL], "usage": RESPONSE_USAGE,
}  # fmt: skip
CUT_RESPONSE = {
    **RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
    "output": [SAID],
}  # fmt: skip
FAILED_RESPONSE = {
    **RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "Oh."},
    "output": [],
}  # fmt: skip


def _response_events() -> list[Json]:
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    at0, at1, at2 = ({"output_index": n, "item_id": f"i{n}"} for n in range(3))
    text = {**at1, "content_index": 0}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", **at0, "item": {**REASONING, "summary": []}},
        {"type": "response.reasoning_summary_text.delta", **at0, "summary_index": 0,
         "delta": "Hm."},
        {"type": "response.output_item.done", **at0, "item": REASONING},
        {"type": "response.output_item.added", **at1, "item": {**SAID, "content": []}},
        {"type": "response.output_text.delta", **text, "delta": "Hello", "logprobs": []},
        {"type": "response.refusal.delta", **text, "content_index": 1, "delta": "No."},
        {"type": "response.output_item.done", **at1, "item": SAID},
        {"type": "response.output_item.added", **at2, "item": {**FUNCTION_CALL, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", **at2, "delta": '{"a": 1}'},
        {"type": "response.output_item.done", **at2, "item": FUNCTION_CALL},
        {"type": "response.completed", "response": RESPONSE},
    ]  # fmt: skip
    return [event | {"sequence_number": number} for number, event in enumerate(events)]


RESPONSE_EVENTS = _response_events()
FAILED_EVENTS = [RESPONSE_EVENTS[0], {"type": "response.failed", "response": FAILED_RESPONSE}]
ERROR = {
    "message": "Rate limit reached", "type": "rate_limit_error", "param": "messages",
    "code": "rate_limit_exceeded", "status": "RESOURCE_EXHAUSTED",
    "innererror": {"code": "content_filter"}, "metadata": {"raw": "{}", "provider_name": "x"},
    "details": [{"@type": "RetryInfo", "retryDelay": "0.001s", "reason": "X"}],
}  # fmt: skip
REFUSED = {"type": "error", "error": ERROR, "request_id": "req_1"}
REFUSED_BY_FRAMEWORK = {"detail": [{"loc": ["body", "messages"], "msg": "wrong", "type": "x"}]}


@dataclass(frozen=True)
class Base:
    """A good answer. provider: who gives it. surface: the API of the caller. streamed: whether the
    answer is. status: of the answer. crossed: a stream was asked for where it is not streamed, and
    the other way around."""

    name: str
    provider: str
    surface: str
    answer: Any
    streamed: bool = False
    status: int = 200
    crossed: bool = False

    @property
    def asks_stream(self) -> bool:
        """Whether a stream is asked for."""
        return self.streamed != self.crossed

    @property
    def is_paid(self) -> bool:
        """Whether it is an answer, and not a refusal."""
        refusals = (REFUSED, [REFUSED], GEMINI_BLOCKED)
        return self.status == 200 and self.answer not in refusals


def bases() -> Iterator[Base]:
    """Every answer that is tried, for every API of the callers."""
    whole = {
        "chat": [CHAT, PLAIN_CHAT, PARTS_CHAT], "anthropic": [MESSAGE],
        "gemini": [GEMINI, GEMINI_BLOCKED], "bridged": [RESPONSE, CUT_RESPONSE, FAILED_RESPONSE],
    }  # fmt: skip
    streams = {
        "chat": [CHAT_EVENTS, PLAIN_CHAT_EVENTS], "anthropic": [MESSAGE_EVENTS],
        "gemini": [GEMINI_EVENTS], "bridged": [RESPONSE_EVENTS, FAILED_EVENTS],
    }  # fmt: skip
    for provider in PROVIDERS:
        for surface in ("chat", "responses", "messages"):
            name = f"{provider} for {surface}"
            for n, answer in enumerate(whole[provider]):
                yield Base(f"{name}, whole {n}", provider, surface, answer)
            for n, events in enumerate(streams[provider]):
                yield Base(f"{name}, streamed {n}", provider, surface, events, streamed=True)
        for status in (400, 404, 429, 500):
            yield Base(f"{provider}'s {status}", provider, "chat", REFUSED, status=status)
        yield Base(f"{provider}'s own error", provider, "messages", [REFUSED], streamed=True)
        error = REFUSED_BY_FRAMEWORK
        yield Base(f"{provider}'s framework", provider, "responses", error, status=422)
        yield Base(f"{provider}'s 200", provider, "responses", REFUSED)
    yield Base("completions, whole", "chat", "completions", COMPLETION)
    yield Base("completions, streamed", "chat", "completions", COMPLETION_EVENTS, streamed=True)
    yield Base("embeddings", "chat", "embeddings", EMBEDDINGS)


@dataclass(frozen=True)
class Case:
    """One thing in an answer is not what it should be."""

    base: Base
    path: Path
    odd: Any
    twin: bool = False

    def __str__(self) -> str:
        odd = "nothing" if self.odd is GONE else json.dumps(self.odd)[:60]
        again = " beside the right one" if self.twin else ""
        return f"{self.base.name}: {spelled(self.path)} = {odd}{again}"

    @property
    def content(self) -> bytes:
        answer = self.base.answer
        if self.path:
            answer = changed(answer, self.path, self.odd, twin=self.twin)
        if not self.base.streamed:
            return dumped(answer)
        done = b"data: [DONE]\n\n" if self.base.provider == "chat" else b""
        return b"".join(b"data: " + dumped(event) + b"\n\n" for event in answer) + done


def crossed_bases() -> Iterator[Base]:
    """The answers of servers that stream what was not to be streamed, or the other way around."""
    for base in bases():
        if base.status == 200 and base.surface != "embeddings":
            yield replace(base, name=f"{base.name}, crossed", crossed=True)


def cases(odd: Sequence[Any] = ODD, *, crossed: bool = False) -> Iterator[Case]:
    """Each place of each answer with each odd value, and the twins of its keys."""
    for base in crossed_bases() if crossed else bases():
        yield Case(base, (), None)
        for number, path in enumerate(places(base.answer)):
            for value in odd:
                yield Case(base, path, value)
            twin = odd[1 + number % (len(odd) - 1)]
            if isinstance(path[-1], str):
                yield Case(base, path, twin, twin=True)


async def faults_in(tried: Iterable[Case], *, by_sdks: bool) -> list[str]:
    """What is wrong with each of the cases, where something is."""
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        async with in_process(config(folder), {}) as gateway:
            for case in tried:
                found = await wrong_with(case, gateway, by_sdks=by_sdks)
                if found is not None:
                    faults.append(f"{case}: {found}")
    return faults


async def wrong_with(case: Case, gateway: InProcess, *, by_sdks: bool) -> str | None:
    """What the gateway did wrong with an answer; None where all is well. by_sdks: translated
    answers are read by the types of the callers' SDKs too, which takes as long as all else."""
    base = case.base
    content_type = "text/event-stream" if base.streamed else "application/json"
    gateway.script.say(case.content, content_type, base.status)
    told = await gateway.ask(
        PATHS[base.surface], request(base.surface, base.provider, stream=base.asks_stream)
    )
    gateway.state.gateway.health._cooldowns._until.clear()
    gateway.state.gateway.health._refused.clear()
    held = await gateway.held()
    if gateway.faults:
        return f"{gateway.faults[0]} {held or ''}"
    if told.status == 500 or not told.content:
        return f"status {told.status}: {told.content[:200]!r}"
    return held or _wrong_bill(case, gateway) or _wrong_form(case, told, by_sdks=by_sdks)


def _wrong_bill(case: Case, gateway: InProcess) -> str | None:
    """What is wrong with what was booked: an answer of 200 was paid for."""
    if len(gateway.settled) != 1:
        return f"{len(gateway.settled)} attempts were settled"
    row = gateway.settled[0]
    if case.base.is_paid and not row.cost_pico:
        return f"nothing was charged ({row.outcome}, {row.cost_source})"
    usage = row.usage
    is_told = row.outcome is Outcome.ANSWERED and usage is not None
    if is_told and usage is not None and usage.prompt_tokens < 1:
        return "no token of the prompt was charged"
    return None


def _wrong_form(case: Case, told: Told, *, by_sdks: bool) -> str | None:
    """Why a client would not understand what was translated for it."""
    base = case.base
    if base.asks_stream and told.status == 200:
        try:
            events = sse_events(told.content.decode())
        except ValueError as error:
            return f"not events: {error}"
    else:
        events = [json.loads(told.content)]
    if told.status != 200 or passed_on(base) or not by_sdks:
        return None
    kind = _kind(base)
    for event in events:
        said = _without_ours(event)
        if said is None:
            continue
        try:
            adapter_of(kind).validate_python(said, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            return f"{first['loc']}: {first['msg']}: {json.dumps(said)[:300]}"
    return None


def passed_on(base: Base) -> bool:
    """Whether the caller gets what the provider sent, as it is."""
    same = {"chat": ("chat", "completions", "embeddings"), "bridged": ("responses",),
            "anthropic": ("messages",)}  # fmt: skip
    return base.surface in same.get(base.provider, ())


def _kind(base: Base) -> type[BaseModel] | Any:
    kinds = {
        ("chat", False): ChatCompletion, ("chat", True): ChatCompletionChunk,
        ("messages", False): Message, ("messages", True): RawMessageStreamEvent,
        ("responses", False): Response, ("responses", True): ResponseStreamEvent,
    }  # fmt: skip
    return kinds[base.surface, base.asks_stream]


def _without_ours(event: Any) -> Any:
    """An event without the tier, of which the SDKs know only some; None where it is none of an
    answer."""
    if event == "[DONE]" or event.get("error") or event.get("type") in ("ping", "error"):
        return None
    said = {name: value for name, value in event.items() if name != "service_tier"}
    if isinstance(said.get("response"), dict):
        said["response"] = _without_ours(said["response"] | {"error": None})
    return said
