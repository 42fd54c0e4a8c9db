"""Converts answers of generateContent to chat completions, whole and in chunks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from router.cost import Usage
from server.upstream.mending.words import new_completion_id
from server.wire.shapes import part, word
from server.wire.usage import count, is_readable, openai_usage

Body = dict[str, Any]
_FILTERED: Final = frozenset(
    {
        "BLOCKLIST",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_SAFETY",
        "LANGUAGE",
        "MODEL_ARMOR",
        "PROHIBITED_CONTENT",
        "RECITATION",
        "SAFETY",
        "SPII",
    }
)
# A candidate with such a finish reason has failed, however much of its answer has arrived.
_FAILED: Final = frozenset(
    {
        "FINISH_REASON_UNSPECIFIED",
        "IMAGE_OTHER",
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "OTHER",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
    }
)


# What a part without content may have.
_SILENT: Final = frozenset({"text", "thought", "thoughtSignature"})


def failure_of(answer: Mapping[str, Any]) -> str | None:
    """Why a candidate of an answer, or of a part of one, has failed; None where none has."""
    for candidate in answer.get("candidates") or ():
        reason = word(candidate.get("finishReason"))
        if reason in _FAILED:
            return reason
    return None


def filter_of(answer: Mapping[str, Any]) -> str | None:
    """Why the provider's filter has blocked the whole answer; None where it has not."""
    feedback = answer.get("promptFeedback")
    candidates = answer.get("candidates") or ()
    if not candidates:
        reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
        return None if reason is None else str(reason)
    reasons = {word(candidate.get("finishReason")) for candidate in candidates}
    if reasons <= _FILTERED and not any(list(_parts(candidate)) for candidate in candidates):
        return ", ".join(sorted(reasons))
    return None


def is_empty(answer: Mapping[str, Any]) -> bool:
    """Whether all candidates of a whole answer have ended well without content. Thoughts are none,
    and a signature is none."""
    candidates = answer.get("candidates") or ()
    return bool(candidates) and not any(
        candidate.get("finishReason") != "STOP" or any(map(_says, _parts(candidate)))
        for candidate in candidates
    )


def _says(said: Mapping[str, Any]) -> bool:
    """Whether a part has content, such as text, a call or an image."""
    return bool(said.keys() - _SILENT) or bool(said.get("text") and not said.get("thought"))


def finish_reason(reason: object, *, called: bool) -> str:
    """OpenAI's finish reason. called: whether the answer calls a tool."""
    if reason == "MAX_TOKENS":
        return "length"
    if word(reason) in _FILTERED:
        return "content_filter"
    return "tool_calls" if called else "stop"


def usage_of(metadata: object) -> Body | None:
    """OpenAI's usage object. Gemini counts thoughts in addition to the candidates, and the results
    of its own tools in addition to the prompt; cached tokens are part of the prompt."""
    if not isinstance(metadata, dict):
        return None
    # Half a count would look like a whole one: none is better, and is estimated.
    prompt, thoughts = count(metadata, "promptTokenCount"), count(metadata, "thoughtsTokenCount")
    if prompt > 0:
        prompt += count(metadata, "toolUsePromptTokenCount")
    output = 0
    if is_readable(metadata, "candidatesTokenCount"):
        output = count(metadata, "candidatesTokenCount") + thoughts
    if prompt + output == 0:
        return None
    cached = count(metadata, "cachedContentTokenCount")
    cached_audio = _audio(metadata, "cacheTokensDetails")
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=output,
        cached_tokens=cached,
        reasoning_tokens=thoughts,
        # Audio that is read from the cache has the price of cached input.
        audio_input_tokens=max(0, _audio(metadata, "promptTokensDetails") - cached_audio),
        audio_output_tokens=_audio(metadata, "candidatesTokensDetails"),
    )
    return openai_usage(usage)


def to_completion(answer: Mapping[str, Any], created: int) -> Body:
    """Converts a whole answer. created: Unix time in seconds."""
    found = answer.get("candidates") or [_blocked(answer)]
    body = {
        "id": answer.get("responseId") or new_completion_id(),
        "object": "chat.completion",
        "created": created,
        "model": answer.get("modelVersion"),
        "choices": [_choice(number, candidate) for number, candidate in enumerate(found)],
    }
    usage = usage_of(answer.get("usageMetadata"))
    return body if usage is None else body | {"usage": usage}


def sign_parts(answer: Mapping[str, Any], mark: Callable[[str], str]) -> None:
    """Marks every signature in an answer, or in a part of one, with its account."""
    for candidate in answer.get("candidates") or ():
        for said in _parts(candidate):
            if isinstance(said.get("thoughtSignature"), str):
                said["thoughtSignature"] = mark(said["thoughtSignature"])


class ContentStream:
    """Converts one streamed answer. `done` is true once every candidate has ended."""

    def __init__(self, created: int) -> None:
        self._created = created
        self._id = new_completion_id()
        self._begun: set[int] = set()
        self._calls: dict[int, int] = {}
        self._ended: set[int] = set()
        self._usage: Body | None = None
        self._head: Body = {}
        # Whether anything has come that is passed on, or content that is not; and whether some
        # candidate did not end well.
        self._has_said = False
        self._ended_ill = False

    @property
    def has_begun(self) -> bool:
        """Whether some candidate has content."""
        return bool(self._begun)

    @property
    def done(self) -> bool:
        """Whether every candidate that has begun has ended."""
        return bool(self._ended) and self._begun <= self._ended

    @property
    def is_empty(self) -> bool:
        """Whether every candidate has ended well, and nothing was said or thought."""
        return bool(self._ended) and not (self._has_said or self._ended_ill)

    @property
    def usage(self) -> Body | None:
        """The usage reported so far."""
        return self._usage

    def chunks(self, answer: Mapping[str, Any]) -> Iterator[Body]:
        """The chunks for one event."""
        self._head = {
            "id": answer.get("responseId") or self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": answer.get("modelVersion"),
        }
        self._usage = usage_of(answer.get("usageMetadata")) or self._usage
        blocked = part(answer, "promptFeedback").get("blockReason")
        found = answer.get("candidates") or ([_blocked(answer)] if blocked else [])
        for number, candidate in enumerate(found):
            yield from self._candidate(_index(candidate, number), candidate)

    def last(self) -> Iterator[Body]:
        """The usage chunk, where usage was reported."""
        if self._usage is not None:
            yield {**self._head, "choices": [], "usage": self._usage}

    def _candidate(self, index: int, candidate: Mapping[str, Any]) -> Iterator[Body]:
        for said in _parts(candidate):
            delta = self._delta(index, said)
            self._has_said = self._has_said or bool(said.get("text")) or _says(said)
            if delta:
                yield self._chunk(index, self._begin(index) | delta)
        reason = candidate.get("finishReason")
        if reason:
            called = self._calls.get(index, 0) > 0
            self._ended.add(index)
            self._ended_ill = self._ended_ill or reason != "STOP"
            yield self._chunk(index, self._begin(index), reason, called=called)

    def _begin(self, index: int) -> Body:
        if index in self._begun:
            return {}
        self._begun.add(index)
        return {"role": "assistant"}

    def _delta(self, index: int, said: Mapping[str, Any]) -> Body:
        if said.get("functionCall") is not None:
            number = self._calls.get(index, 0)
            self._calls[index] = number + 1
            return {"tool_calls": [{"index": number, **_call(said)}]}
        text = said.get("text") or ""
        if said.get("thought"):
            return {"reasoning_content": text} if text else {}
        extra = _signature(said)
        return {"content": text, **extra} if text or extra else {}

    def _chunk(
        self, index: int, delta: Body, reason: object = None, *, called: bool = False
    ) -> Body:
        choice: Body = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        if reason:
            choice["finish_reason"] = finish_reason(reason, called=called)
            choice["native_finish_reason"] = reason
        return {**self._head, "choices": [choice]}


def _choice(number: int, candidate: Mapping[str, Any]) -> Body:
    said = list(_parts(candidate))
    calls = [_call(one) for one in said if one.get("functionCall") is not None]
    texts = [p["text"] for p in said if p.get("text") and not p.get("thought")]
    thoughts = [p["text"] for p in said if p.get("text") and p.get("thought")]
    message: Body = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": candidate.get("refusal"),
    }
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    for one in said:
        if one.get("functionCall") is None:
            message |= _signature(one)
    reason = candidate.get("finishReason")
    return {
        "index": _index(candidate, number),
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason(reason, called=bool(calls)),
        "native_finish_reason": reason,
    }


def _blocked(answer: Mapping[str, Any]) -> Body:
    """The completion for a refused prompt, which has no candidates."""
    reason = word(part(answer, "promptFeedback").get("blockReason")) or "OTHER"
    return {"finishReason": "SAFETY", "refusal": f"The prompt was blocked: {reason}."}


def _parts(candidate: Mapping[str, Any]) -> Iterator[Body]:
    yield from part(candidate, "content").get("parts") or ()


def _index(candidate: Mapping[str, Any], number: int) -> int:
    index = candidate.get("index")
    return number if index is None else int(index)


def _call(said: Mapping[str, Any]) -> Body:
    call = said["functionCall"]
    function = {
        "name": call.get("name"),
        "arguments": orjson.dumps(call.get("args") or {}).decode(),
    }
    identifier = call.get("id") or f"call_{uuid.uuid4().hex[:24]}"
    return {"id": identifier, "type": "function", "function": function} | _signature(said)


def _signature(said: Mapping[str, Any]) -> Body:
    """The signature in the field of Google's own OpenAI endpoint, to be sent back with the next
    turn."""
    signature = said.get("thoughtSignature")
    if signature is None:
        return {}
    return {"extra_content": {"google": {"thought_signature": signature}}}


def _audio(metadata: Mapping[str, Any], name: str) -> int:
    details = metadata.get(name)
    return sum(
        count(item, "tokenCount")
        for item in (details if isinstance(details, list) else ())
        if isinstance(item, dict) and item.get("modality") == "AUDIO"
    )
