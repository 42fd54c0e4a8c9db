"""The built-in sandbox provider: it behaves like a provider, without a model and without network.

The whole gateway can be tried without a key. Every answer says what it is, and none repeats
anything of the prompt.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import orjson

from server.upstream.base import Fit, UpstreamReply, UpstreamRequest, UpstreamStream
from server.upstream.errors import UpstreamRejectedError
from server.upstream.fields import Fields
from server.upstream.tool_names import ANTHROPIC_NAME
from server.wire.sse import SseEvent
from server.wire.surface import Surface

_NOTICE: Final = (
    "[sandbox] This is not a model: no provider is configured, and these words stand where an "
    "answer would be."
)
_FILLER: Final = (
    "Here the text goes on so that lengths, costs and streaming can be tried. "
    "Nothing in it depends on what was asked. "
    "A real provider and its key turn it into a real answer."
)
_JSON_ANSWER: Final = '{"sandbox": "This is not a model: no provider is configured."}'
_WORDS_PER_DELTA: Final = 4
_MAX_CHOICES: Final = 128
_SHORTEST_ANSWER: Final = 40
_LENGTHS: Final = 360


@dataclass(frozen=True, slots=True)
class _Choice:
    """One answer. words: its tokens, as the sandbox counts them; none for a tool call."""

    words: tuple[str, ...]
    finish_reason: str
    tool: str | None = None

    @property
    def n_tokens(self) -> int:
        return len(self.words) if self.tool is None else 1


class SandboxUpstream:
    """Answers without network or model; the same model and request always get the same text.

    expected_output_tokens: upstream model -> length of its answers; a model that is missing there
    (or has NaN) gets a length computed from its name. The delays, in seconds, come before the first
    chunk and before each further one.
    """

    bills = False
    tool_names = ANTHROPIC_NAME

    def __init__(
        self,
        name: str = "sandbox",
        *,
        expected_output_tokens: Mapping[str, float] | None = None,
        first_delay_s: float = 0.02,
        delta_delay_s: float = 0.005,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._expected = dict(expected_output_tokens or {})
        self._first_delay_s = first_delay_s
        self._delta_delay_s = delta_delay_s
        self._clock = clock
        self._serials = itertools.count(1)

    @property
    def name(self) -> str:
        return self._name

    def speaks(self, surface: Surface) -> bool:
        """Whether a request of this surface can be sent as it is."""
        return surface is Surface.CHAT

    def fields(self, surface: Surface, *, bounded: bool) -> Fields | None:  # noqa: ARG002
        """The fields of this surface's bodies that may be sent; None: all. Nothing is sent
        anywhere."""
        return None

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:  # noqa: ARG002
        """Every request fits, since it is not read."""
        return Fit()

    def kin(self, body: Mapping[str, Any], model: str) -> Hashable:  # noqa: ARG002
        """A key that is equal for models with the same fit for this body. Finding out the fit can
        take as long as translating the body, and a provider has many models."""
        return None

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """Returns a whole answer, after the same time as the stream of that answer."""
        choices = self._choices(request)
        n_deltas = sum(1 for choice in choices for _ in _deltas(choice))
        await anyio.sleep(self._first_delay_s + n_deltas * self._delta_delay_s)
        body = self._head(request, "chat.completion")
        body["choices"] = [_whole_choice(i, choice) for i, choice in enumerate(choices)]
        body["usage"] = _usage(request.body, choices)
        return UpstreamReply(body)

    async def open_stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Returns once the first event has arrived, so that a failure before the first byte raises
        (a leaf of UpstreamError) and the caller can turn to another model."""
        return await UpstreamStream.start(self._events(request, self._choices(request)))

    async def close(self) -> None:
        """Does nothing: there are no connections."""

    async def _events(
        self, request: UpstreamRequest, choices: Sequence[_Choice]
    ) -> AsyncGenerator[SseEvent, None]:
        head = self._head(request, "chat.completion.chunk")
        await anyio.sleep(self._first_delay_s)
        for index, choice in enumerate(choices):
            yield _event(head, _chunk_choice(index, {"role": "assistant", "content": None}))
            for delta in _deltas(choice):
                await anyio.sleep(self._delta_delay_s)
                yield _event(head, _chunk_choice(index, delta))
            yield _event(head, _chunk_choice(index, {}, choice.finish_reason))
        yield _event(head, None, _usage(request.body, choices))

    def _head(self, request: UpstreamRequest, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-sandbox-{next(self._serials)}",
            "object": kind,
            "created": int(self._clock()),
            "model": request.upstream_model,
            "system_fingerprint": "sandbox",
        }

    def _choices(self, request: UpstreamRequest) -> list[_Choice]:
        body = request.body
        if not isinstance(body.get("messages"), list) or not body["messages"]:
            raise _rejected("messages", "must be a non-empty array")
        n = _positive(body, "n") or 1
        if n > _MAX_CHOICES:
            raise _rejected("n", f"must be at most {_MAX_CHOICES}")
        tool = _forced_tool(body)
        if tool is not None:
            return [_Choice((), "tool_calls", tool)] * n
        words = self._words(request)
        return [_cut(words, _cap(body), _stops(body))] * n

    def _words(self, request: UpstreamRequest) -> tuple[str, ...]:
        wanted = request.body.get("response_format")
        if isinstance(wanted, Mapping) and wanted.get("type") in ("json_object", "json_schema"):
            return _split(_JSON_ANSWER)
        endless = itertools.chain(
            _split(_NOTICE), itertools.cycle([" " + word for word in _FILLER.split()])
        )
        return tuple(itertools.islice(endless, self._length(request.upstream_model)))

    def _length(self, model: str) -> int:
        expected = self._expected.get(model)
        if expected is not None and math.isfinite(expected):
            return max(1, round(expected))
        digest = hashlib.sha256(model.encode("utf-8", "replace")).digest()
        return _SHORTEST_ANSWER + int.from_bytes(digest[:4], "big") % _LENGTHS


def _split(text: str) -> tuple[str, ...]:
    first, *others = text.split(" ")
    return (first, *(" " + word for word in others))


def _cut(words: tuple[str, ...], cap: int | None, stops: Sequence[str]) -> _Choice:
    kept = words if cap is None else words[:cap]
    text = "".join(kept)
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    if found:
        return _Choice(_first_characters(kept, min(found)), "stop")
    return _Choice(kept, "length" if len(kept) < len(words) else "stop")


def _first_characters(words: Sequence[str], n_characters: int) -> tuple[str, ...]:
    kept: list[str] = []
    for word in words:
        if n_characters <= 0:
            break
        kept.append(word[:n_characters])
        n_characters -= len(word)
    return tuple(kept)


def _deltas(choice: _Choice) -> Iterator[dict[str, Any]]:
    if choice.tool is not None:
        call = _tool_call(choice.tool)
        begun = {**call, "function": {**call["function"], "arguments": ""}}
        yield {"tool_calls": [{"index": 0, **begun}]}
        yield {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}
        return
    for start in range(0, len(choice.words), _WORDS_PER_DELTA):
        yield {"content": "".join(choice.words[start : start + _WORDS_PER_DELTA])}


def _tool_call(tool: str) -> dict[str, Any]:
    function = {"name": tool, "arguments": "{}"}
    return {"id": "call_sandbox", "type": "function", "function": function}


def _whole_choice(index: int, choice: _Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(choice.words)}
    if choice.tool is not None:
        message |= {"content": None, "tool_calls": [_tool_call(choice.tool)]}
    return {
        "index": index,
        "message": {**message, "refusal": None},
        "logprobs": None,
        "finish_reason": choice.finish_reason,
    }


def _chunk_choice(
    index: int, delta: Mapping[str, Any], finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(
    head: Mapping[str, Any],
    choice: Mapping[str, Any] | None,
    usage: Mapping[str, Any] | None = None,
) -> SseEvent:
    chunk = {**head, "choices": [] if choice is None else [choice], "usage": usage}
    return SseEvent(orjson.dumps(chunk), parsed=chunk)


def _usage(body: Mapping[str, Any], choices: Sequence[_Choice]) -> dict[str, Any]:
    prompt_tokens = math.ceil(_prompt_bytes(body) / 4)
    completion_tokens = sum(choice.n_tokens for choice in choices)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _prompt_bytes(body: Mapping[str, Any]) -> int:
    n_bytes = sum(_text_bytes(message) for message in body["messages"])
    tools = body.get("tools")
    return n_bytes + (len(orjson.dumps(tools)) if tools else 0)


def _text_bytes(message: object) -> int:
    content = message.get("content") if isinstance(message, Mapping) else None
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return sum(len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str))


def _cap(body: Mapping[str, Any]) -> int | None:
    caps = (_positive(body, "max_completion_tokens"), _positive(body, "max_tokens"))
    return min((cap for cap in caps if cap is not None), default=None)


def _positive(body: Mapping[str, Any], param: str) -> int | None:
    value = body.get(param)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _rejected(param, "must be an integer of at least 1")
    return value


def _stops(body: Mapping[str, Any]) -> list[str]:
    stop = body.get("stop")
    candidates = stop if isinstance(stop, list) else [stop]
    return [text for text in candidates if isinstance(text, str) and text]


def _forced_tool(body: Mapping[str, Any]) -> str | None:
    """The function that the caller forces: the named one, or the first where any is allowed."""
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        return _function_name(choice)
    tools = body.get("tools")
    if choice != "required" or not isinstance(tools, list):
        return None
    return next((name for tool in tools if (name := _function_name(tool)) is not None), None)


def _function_name(tool: object) -> str | None:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def _rejected(param: str, fault: str) -> UpstreamRejectedError:
    message = f"'{param}' {fault}."
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": "invalid_value",
    }
    return UpstreamRejectedError(message, status=400, body={"error": error})
