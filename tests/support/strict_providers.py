"""A dozen providers in one, over a real socket: each answers in its own dialect, thinks aloud,
calls a tool at every other turn, and refuses what strict_history refuses and what another has
signed.

    with StrictProviders() as providers: providers.base_url("mistral")
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from strict_history import CHECKS, ISSUED, RefusedError

Json = dict[str, Any]
_NAMED = re.compile(ISSUED + r"([a-z]+)-")
THOUGHT = "I should look."
# Other accounts with the same API.
_LIKE = {"kimi": "anthropic", "azure": "responses", "google": "gemini"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}


class StrictProviders:
    """refusals: what each has refused, as (provider, words). returned: how often each has had its
    own thoughts back."""

    def __init__(self) -> None:
        self.refusals: list[tuple[str, str]] = []
        self.returned: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        providers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                status, kind, answer = providers.answer(self.path, json.loads(content))
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def base_url(self, name: str) -> str:
        """Without the path that the kinds of providers add themselves."""
        tail = "" if _LIKE.get(name, name) in ("anthropic", "gemini") else "/v1"
        return f"http://127.0.0.1:{self._server.server_port}/{name}{tail}"

    def answer(self, path: str, body: Json) -> tuple[int, str, bytes]:
        """(status, type, content) of the answer of the provider whose path it is."""
        name = path.split("/")[1]
        check = _LIKE.get(name, name)
        if check == "responses" and not path.endswith("/responses"):
            check = "openai"
        try:
            CHECKS[check](body)
            signers = set(_NAMED.findall(json.dumps(body)))
            if signers - {name}:
                raise RefusedError(f"signed or encrypted by {signers}")
        except RefusedError as refused:
            self.refusals.append((name, str(refused)))
            error = json.dumps(
                {"error": {"type": "invalid_request_error", "message": str(refused)}}
            )
            return 400, "application/json", error.encode()
        if signers or (name == "deepseek" and THOUGHT in json.dumps(body)):
            self.returned[name] += 1
        number = next(self._numbers)
        make = {"anthropic": _claude, "gemini": _gemini}.get(_LIKE.get(name, name), _chat)
        make = _response if path.endswith("/responses") else make
        whole, events = make(name, number, _offered(body) if _may_call(body) else "")
        if body.get("stream") or "stream" in path:
            return 200, "text/event-stream", b"".join(_framed(events, name))
        return 200, "application/json", json.dumps(whole).encode()


def _framed(events: Iterator[Json], name: str) -> Iterator[bytes]:
    for event in events:
        kind = f"event: {event['type']}\n" if "type" in event else ""
        yield f"{kind}data: {json.dumps(event)}\n\n".encode()
    if _LIKE.get(name, name) not in ("anthropic", "gemini"):
        yield b"data: [DONE]\n\n"


def _may_call(body: Json) -> bool:
    """At every other turn: where the last one brought no results."""
    turns = body.get("messages") or body.get("input") or body.get("contents")
    last = turns[-1] if isinstance(turns, list) else {}
    if last.get("role") == "tool" or last.get("type") == "function_call_output":
        return False
    content = last.get("content", last.get("parts"))
    inside = json.dumps(content)
    return "tool_result" not in inside and "functionResponse" not in inside


def _offered(body: Json) -> str:
    """The first tool, by the name that the provider has been told."""
    tool = body["tools"][0]
    tool = tool.get("function") or (tool.get("functionDeclarations") or [tool])[0]
    return str(tool["name"])


def _chat(name: str, number: int, tool: str) -> tuple[Json, Iterator[Json]]:
    thoughts: Json = {"reasoning_content": THOUGHT}
    if name == "groq":
        thoughts = {"reasoning": THOUGHT}
    elif name == "openai":
        thoughts = {"annotations": [], "refusal": None}
    text: Any = f"answer {number}"
    if name == "mistral":
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
        thoughts, text = {}, [thought, {"type": "text", "text": text}]
    message: Json = {"role": "assistant", "content": text, **thoughts}
    finish = "tool_calls" if tool else "stop"
    if tool:
        function = {"name": tool, "arguments": json.dumps({"q": number})}
        # an id that some refuse, and that comes again
        call = {"id": f"functions.find:{number % 2}", "type": "function", "function": function}
        message |= {"tool_calls": [call]}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": name}
    whole = head | {
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": USAGE,
    }

    def events() -> Iterator[Json]:
        streamed = head | {"object": "chat.completion.chunk"}
        for field, value in message.items():
            delta = {field: value}
            if field == "tool_calls":
                delta = {field: [{"index": 0, **value[0]}]}
            yield streamed | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield streamed | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        yield streamed | {"choices": [], "usage": USAGE}

    return whole, events()


def _response(name: str, number: int, tool: str) -> tuple[Json, Iterator[Json]]:
    reasoning = {
        "type": "reasoning",
        "id": f"rs_{number}",
        "summary": [{"type": "summary_text", "text": THOUGHT}],
        "encrypted_content": f"{ISSUED}{name}-{number}",
    }
    part = {"type": "output_text", "text": f"answer {number}", "annotations": []}
    message = {
        "type": "message",
        "id": f"msg_{number}",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    call = {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"call_{number}",
        "name": tool,
        "arguments": json.dumps({"q": number}),
        "status": "completed",
    }
    output = [reasoning, message, *([call] if tool else [])]
    usage = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": name,
        "output": output,
        "usage": usage,
    }

    def events() -> Iterator[Json]:
        begun = whole | {"status": "in_progress", "output": [], "usage": None}
        yield {"type": "response.created", "sequence_number": 0, "response": begun}
        for place, item in enumerate(output):
            at = {"output_index": place, "item": item}
            yield {"type": "response.output_item.added", **at}
            yield {"type": "response.output_item.done", **at}
        yield {"type": "response.completed", "response": whole}

    return whole, events()


def _claude(name: str, number: int, tool: str) -> tuple[Json, Iterator[Json]]:
    signature = f"{ISSUED}{name}-{number}"
    blocks: list[Json] = [
        {"type": "thinking", "thinking": THOUGHT, "signature": signature},
        {"type": "text", "text": f"answer {number}"},
    ]
    if tool:
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": tool}
        blocks.append(call | {"input": {"q": number}})
    reason = "tool_use" if tool else "end_turn"
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": name,
        "content": blocks,
        "stop_reason": reason,
        "usage": {"input_tokens": 9, "output_tokens": 9},
    }

    def events() -> Iterator[Json]:
        yield {"type": "message_start", "message": whole | {"content": [], "stop_reason": None}}
        for index, block in enumerate(blocks):
            blank = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""},
                     "tool_use": {"input": {}}}[block["type"]]  # fmt: skip
            opened = block | blank
            yield {"type": "content_block_start", "index": index, "content_block": opened}
            for delta in _deltas(block):
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        usage = {"output_tokens": 9}
        yield {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}
        yield {"type": "message_stop"}

    return whole, events()


def _deltas(block: Json) -> Iterator[Json]:
    if block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "text":
        yield {"type": "text_delta", "text": block["text"]}
    else:
        yield {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}


def _gemini(name: str, number: int, tool: str) -> tuple[Json, Iterator[Json]]:
    signature = f"{ISSUED}{name}-{number}"
    parts: list[Json] = [{"text": THOUGHT, "thought": True}, {"text": f"answer {number}"}]
    if tool:
        call = {"name": tool, "args": {"q": number}}
        parts.append({"functionCall": call, "thoughtSignature": signature})
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    counts = {"promptTokenCount": 9, "candidatesTokenCount": 9, "totalTokenCount": 18}
    whole = {"candidates": [candidate], "usageMetadata": counts, "modelVersion": name}
    return whole, iter([whole])
