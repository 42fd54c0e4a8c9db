"""Requests in which something is not what it should be, sent to a model of every wire format."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from in_process import InProcess, in_process
from odd_answers import CHAT as CHAT_ANSWER
from odd_answers import (
    CHAT_EVENTS,
    COMPLETION,
    COMPLETION_EVENTS,
    GEMINI,
    GEMINI_EVENTS,
    MESSAGE,
    MESSAGE_EVENTS,
    PATHS,
    PROVIDERS,
    RESPONSE,
    RESPONSE_EVENTS,
    config,
)
from odd_answers import EMBEDDINGS as EMBEDDINGS_ANSWER
from odd_values import ODD, Path, changed, dumped, places, spelled
from whole_requests import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES

Json = dict[str, Any]
BODIES = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES, "completions": COMPLETIONS,
          "embeddings": EMBEDDINGS}  # fmt: skip
# Fields that no translation expresses; a request with them is for other models.
_INEXPRESSIBLE = {
    *("n", "audio", "logit_bias", "modalities", "prediction", "functions", "function_call"),
    *(
        "web_search_options",
        "response_format",
        "logprobs",
        "top_logprobs",
        "seed",
        "store",
        "max_tokens",
    ),
}
_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# Items and tools of OpenAI's alone.
_OPENAIS = {
    *("local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output"),
    *("tool_search_call", "tool_search_output", "local_shell", "shell", "tool_search"),
    *("web_search", "additional_tools"),
}


def _body(surface: str, provider: str) -> Json:
    """The body of a surface, as far as the provider's models can be asked it."""
    text = json.dumps({**BODIES[surface], "model": provider})
    body: Json = json.loads(text.replace("http://x", "https://x.org/a.png"))
    body |= {name: 5000 for name in _CAPS if name in body}
    if provider == "chat":
        return body
    kept = _INEXPRESSIBLE - ({"max_tokens"} if surface == "messages" else set())
    body = {name: value for name, value in body.items() if name not in kept}
    if provider == "gemini":
        body.pop("text", None)  # not together with tools
    for name in ("input", "tools"):
        if surface == "responses" and provider != "bridged" and name in body:
            body[name] = [one for one in body[name] if one.get("type") not in _OPENAIS]
    return body


@dataclass(frozen=True)
class Asked:
    """A request. path, odd: the place that is not what it should be; no path: all is well."""

    surface: str
    provider: str
    path: Path
    odd: Any
    twin: bool = False

    def __str__(self) -> str:
        odd = repr(self.odd)[:60]
        return f"{self.surface} for {self.provider}: {spelled(self.path)} = {odd} ({self.twin})"

    @property
    def content(self) -> bytes:
        body = _body(self.surface, self.provider)
        return dumped(changed(body, self.path, self.odd, twin=self.twin) if self.path else body)


def pairs() -> Iterator[tuple[str, str]]:
    """Every API of the callers with every kind of model that serves it."""
    for surface in ("chat", "messages", "responses"):
        for provider in PROVIDERS:
            yield surface, provider
    yield "completions", "chat"
    yield "embeddings", "chat"


def asked(odd: Sequence[Any] = ODD) -> Iterator[Asked]:
    """Each place of each request with each odd value, and the twins of its keys."""
    for surface, provider in pairs():
        body = _body(surface, provider)
        yield Asked(surface, provider, (), None)
        for number, path in enumerate(places(body)):
            for value in odd:
                yield Asked(surface, provider, path, value)
            if isinstance(path[-1], str):
                twin = odd[1 + number % (len(odd) - 1)]
                yield Asked(surface, provider, path, twin, twin=True)


async def faults_in_requests(tried: Iterable[Asked]) -> list[str]:
    """What is wrong with how each of the requests was answered, where something is."""
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        async with in_process(config(folder), {}) as gateway:
            for one in tried:
                found = await _wrong_with(one, gateway)
                if found is not None:
                    faults.append(f"{one}: {found}")
    return faults


async def _wrong_with(one: Asked, gateway: InProcess) -> str | None:
    gateway.script.answer = _answered
    told = await gateway.ask(PATHS[one.surface], one.content)
    held = await gateway.held()
    if gateway.faults:
        return f"{gateway.faults[0]} {held or ''}"
    if held is not None:
        return held
    if not one.path and told.status != 200:
        return f"status {told.status}: {told.content[:300]!r}"
    if told.status >= 500 or not told.content:
        return f"status {told.status}: {told.content[:300]!r}"
    return None if told.status == 200 else _unnamed(told.content)


def _unnamed(content: bytes) -> str | None:
    """What is wrong with a refusal: it says which field it is about. Of a key that is given twice,
    only the name is known."""
    error = json.loads(content)["error"]
    message = error.get("message")
    if not message or not (error.get("param") or "is given twice" in message):
        return f"a refusal that names no field: {content[:300]!r}"
    return None


def _answered(path: str, body: Json) -> tuple[bytes, str]:
    """The good answer of the endpoint that was asked."""
    whole, events = _ANSWERS[next(end for end in _ANSWERS if path.endswith(end))]
    if not ("stream" in path.rpartition("/")[2] or body.get("stream") is True):
        return json.dumps(whole).encode(), "application/json"
    lines = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return lines, "text/event-stream"


_ANSWERS: dict[str, tuple[Any, list[Any]]] = {
    "/chat/completions": (CHAT_ANSWER, CHAT_EVENTS),
    "/completions": (COMPLETION, COMPLETION_EVENTS),
    "/embeddings": (EMBEDDINGS_ANSWER, []),
    "/responses": (RESPONSE, RESPONSE_EVENTS),
    "/messages": (MESSAGE, MESSAGE_EVENTS),
    ":generateContent": (GEMINI, []),
    ":streamGenerateContent": (GEMINI, GEMINI_EVENTS),
}
