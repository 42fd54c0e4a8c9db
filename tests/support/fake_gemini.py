"""A provider that speaks Gemini's generateContent over a real socket, and is as strict.

    with FakeGemini() as provider:
        provider.script("gemini-x", Behaviour(blocks=({"text": "Hi"},)))

What the API's reference says of a request is checked, so that a wrong translation is a 400.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from fake_provider import NOT_HERE, Behaviour, FakeProvider, Fault, Recorded, Wire

_PATH = re.compile(r"/v1beta/models/([^/:]+):(generateContent|streamGenerateContent\?alt=sse)")
_FIELDS = {
    *("contents", "systemInstruction", "tools", "toolConfig", "generationConfig"),
    *("safetySettings", "cachedContent"),
}
_CONFIG = {
    *("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences"),
    *("presencePenalty", "frequencyPenalty", "seed", "responseMimeType", "responseJsonSchema"),
    "thinkingConfig",
}


class FakeGemini(FakeProvider):
    """Its base_url names the host; wants `x-goog-api-key`."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def chats(self) -> list[Recorded]:
        return [request for request in self.requests if _PATH.fullmatch(request.path)]

    def _behaviour(self, request: Recorded) -> Behaviour:
        if self.api_key is not None and request.headers.get("x-goog-api-key") != self.api_key:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo"}
            details = [info | {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
            return _refusal(400, "INVALID_ARGUMENT", "API key not valid.", details)
        found = _PATH.fullmatch(request.path)
        if found is None:
            return NOT_HERE
        fault = fault_of(request.body)
        if fault is not None:
            return _refusal(400, "INVALID_ARGUMENT", fault)
        if self.models is not None and found[1] not in self.models:
            message = f"models/{found[1]} is not found for API version v1beta"
            return _refusal(404, "NOT_FOUND", message)
        return self._scripted(found[1])

    async def _respond(self, request: Recorded, behaviour: Behaviour, wire: Wire) -> None:
        if behaviour.fault is Fault.RESET and behaviour.fault_after == 0:
            await wire.fail()
        if behaviour.garbage is not None:
            await wire.send_whole(behaviour.garbage, "application/json")
        elif behaviour.status != 200:
            error = behaviour.error or {"status": "INTERNAL", "message": "scripted"}
            await wire.send_json({"error": {"code": behaviour.status, **error}})
        elif "stream" in request.path:
            await self._stream(request, behaviour, wire)
        else:
            await wire.send_json(behaviour.answer or _merged(_answers(request, behaviour)))

    async def _stream(self, request: Recorded, behaviour: Behaviour, wire: Wire) -> None:
        await wire.head("text/event-stream", "transfer-encoding: chunked")
        await wire.pause(behaviour.head_delay_s)
        events = behaviour.events or tuple(_answers(request, behaviour))
        for n_sent, event in enumerate(events):
            if behaviour.fault is not None and n_sent == behaviour.fault_after:
                break
            await wire.event(json.dumps(event, ensure_ascii=False).encode())
        if behaviour.fault in (Fault.CUT, Fault.RESET, Fault.SILENCE):
            await wire.fail()
        if behaviour.fault is Fault.MALFORMED:
            await wire.event(b'{"candidates": [{"con')
        if behaviour.fault is Fault.ERROR:
            error = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
            await wire.event(json.dumps({"error": error}).encode())
        await wire.end()

    def _count(self, body: Any, behaviour: Behaviour) -> None:
        """Spend is asserted from scripted usage."""


def fault_of(body: dict[str, Any]) -> str | None:
    """What the API would object to."""
    unknown = sorted(set(body) - _FIELDS) + sorted(set(body.get("generationConfig", {})) - _CONFIG)
    if unknown:
        return f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.'
    if len(body.get("generationConfig", {}).get("stopSequences", ())) > 5:
        return "The number of stop sequences must be at most 5."
    if body.get("toolConfig") and not body.get("tools"):
        return "Function calling config is set without function_declarations."
    return _contents_fault(body.get("contents"))


def _contents_fault(contents: Any) -> str | None:
    if not contents:
        return "* GenerateContentRequest.contents: contents is not specified"
    n_calls = 0
    for content in contents:
        if content.get("role") not in ("user", "model"):
            return "Please use a valid role: user, model."
        if not content.get("parts"):
            return "* GenerateContentRequest.contents: contents.parts must not be empty."
        answers = sum("functionResponse" in part for part in content["parts"])
        if answers != n_calls:
            return (
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )
        n_calls = sum("functionCall" in part for part in content["parts"])
    return None


def _answers(request: Recorded, behaviour: Behaviour) -> Iterator[dict[str, Any]]:
    """One event for each part; the last one has the reason and all of the usage."""
    found = _PATH.fullmatch(request.path)
    model = found[1] if found else ""
    texts = behaviour.texts or ("Hello", " from", f" {model}")
    parts = list(behaviour.blocks) or [{"text": text} for text in texts]
    reason = "STOP" if behaviour.finish_reason == "stop" else behaviour.finish_reason
    usage = behaviour.usage or {
        "promptTokenCount": 11,
        "candidatesTokenCount": 5,
        "totalTokenCount": 16,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 11}],
    }
    head = {"modelVersion": model, "responseId": "resp-fake"}
    n_candidates = request.body.get("generationConfig", {}).get("candidateCount", 1)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        ending = {"finishReason": reason} if last else {}
        content = {"parts": [part], "role": "model"}
        candidates = [{"content": content, "index": i, **ending} for i in range(n_candidates)]
        so_far = usage if last else {"promptTokenCount": usage.get("promptTokenCount", 0)}
        yield {"candidates": candidates, "usageMetadata": so_far, **head}


def _merged(answers: Iterator[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for answer in answers:
        if not whole:
            whole = answer
            continue
        for old, new in zip(whole["candidates"], answer["candidates"], strict=True):
            old["content"]["parts"] += new["content"]["parts"]
            old |= {"finishReason": new["finishReason"]} if "finishReason" in new else {}
        whole["usageMetadata"] = answer["usageMetadata"]
    return whole


def _refusal(
    status: int, kind: str, message: str, details: list[dict[str, Any]] | None = None
) -> Behaviour:
    error: dict[str, Any] = {"status": kind, "message": message}
    return Behaviour(status=status, error=error | ({"details": details} if details else {}))
