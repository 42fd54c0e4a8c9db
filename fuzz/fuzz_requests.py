"""Requests gone wrong: good ones of every endpoint, changed at random in what callers change."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MESSAGES = [{"role": "user", "content": "hi"}]
PARTS = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CHAT: dict[str, Any] = {"model": "p2l", "messages": MESSAGES}
GOOD: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("POST", "/v1/chat/completions", CHAT),
    (
        "POST",
        "/v1/chat/completions",
        CHAT | {"stream": True, "stream_options": {"include_usage": True}},
    ),
    (
        "POST",
        "/v1/chat/completions",
        CHAT
        | {
            "tools": [TOOL],
            "tool_choice": "auto",
            "n": 2,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        },
    ),
    (
        "POST",
        "/v1/chat/completions",
        CHAT
        | {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": PARTS},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{}"},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ]
        },
    ),
    (
        "POST",
        "/v1/chat/completions",
        CHAT
        | {
            "max_tokens": 5,
            "stop": ["x"],
            "seed": 1,
            "cost": 0.01,
            "p2l": {
                "budget_usd": 0.01,
                "budget_mode": "hard",
                "models": ["dear"],
                "seed": 3,
                "explain": True,
            },
        },
    ),
    (
        "POST",
        "/v1/responses",
        {"model": "p2l", "input": "hi", "stream": False, "max_output_tokens": 99},
    ),
    (
        "POST",
        "/v1/responses",
        {
            "model": "cheap",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
            "stream": True,
            "instructions": "be brief",
        },
    ),
    (
        "POST",
        "/v1/messages",
        {
            "model": "cheap",
            "max_tokens": 9,
            "system": "s",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
    ),
    (
        "POST",
        "/v1/messages",
        {
            "model": "claude",
            "max_tokens": 9,
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "system",
                    "content": [
                        {"type": "text", "text": "s"},
                        {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}},
                        {
                            "type": "tool_addition",
                            "tool": {
                                "type": "tool_definition",
                                "definition": {"name": "g", "input_schema": {}},
                            },
                        },
                    ],
                    "output_config": {"effort": "low"},
                    "clear_at": "next_user_message",
                },
                {"role": "assistant", "content": [{"type": "compaction", "content": "c"}]},
                {"role": "user", "content": "go on"},
            ],
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "defer_loading": True}],
            "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
            "diagnostics": {"previous_message_id": None},
            "thinking": {"type": "adaptive"},
        },
    ),
    ("POST", "/v1/messages/count_tokens", {"model": "cheap", "messages": MESSAGES}),
    ("POST", "/v1/completions", {"model": "cheap", "prompt": "hi"}),
    ("POST", "/v1/embeddings", {"model": "cheap", "input": ["hi"]}),
    (
        "POST",
        "/v1/chat/completions",
        CHAT
        | {
            "model": "claude",
            "reasoning_effort": "low",
            "tools": [TOOL],
            "stop": ["x"],
            "temperature": 1,
            "parallel_tool_calls": False,
        },
    ),
    (
        "POST",
        "/v1/chat/completions",
        CHAT
        | {
            "model": "gem",
            "reasoning_effort": "low",
            "messages": [{"role": "user", "content": PARTS}],
            "tools": [TOOL],
            "logprobs": True,
        },
    ),
    ("POST", "/v1/route", CHAT),
    ("POST", "/v1/leaderboard", {"prompt": "hi"}),
    ("POST", "/v1/feedback", {"request_id": "req_1", "rating": 1.0}),
    (
        "POST",
        "/v1/feedback",
        {
            "request_id": "req_1",
            "winner": "model_a",
            "comparison": {"model_a": "dear", "model_b": "cheap"},
            "messages": MESSAGES,
        },
    ),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/cheap", None),
    ("GET", "/v1/decisions/req_1", None),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    0.5,
    -0.0,
    1e308,
    5e-324,
    2**31,
    2**53,
    2**63,
    2**64,
    -(2**63),
    10**40,
    "",
    " ",
    "0",
    "-1",
    "nan",
    "1e400",
    "p2l",
    "p2l:",
    "p2l:x",
    "auto",
    "a" * 300,
    "\0",
    "\r\nx-evil: 1",
    "../../etc",
    "%00",
    "💥",
    "\u202e",
    "ﬁ",
    "٣",
    [],
    [[]],
    [None],
    {},
    {"": None},
    {"type": "text"},
    {"type": "text", "text": 5},
    {"role": "user"},
    [{"role": "user", "content": []}],
    {"type": "image_url"},
    {"type": "input_audio", "input_audio": {"data": "x"}},
    ["user"] * 40,
)
KEYS = (
    "model",
    "messages",
    "role",
    "content",
    "type",
    "text",
    "p2l",
    "cost",
    "budget_usd",
    "models",
    "n",
    "stream",
    "stream_options",
    "tools",
    "function",
    "input",
    "prompt",
    "store",
    "modalities",
    "reasoning_effort",
    "modalities",
    "thinking",
    "tool_choice",
    "stop",
    "metadata",
    "user",
    "logit_bias",
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "prediction",
    "logprobs",
    "max_tokens",
    "response_format",
    "json_schema",
    "tool_calls",
    "",
    "__proto__",
    "💥",
)
HEADERS = (
    "x-cost-budget",
    "x-cost-budget-mode",
    "x-route-models",
    "x-route-seed",
    "x-session-id",
    "session_id",
    "authorization",
    "content-type",
    "content-encoding",
    "accept",
    "expect",
    "x-request-id",
    "host",
    "origin",
    "x-forwarded-for",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "connection",
    "range",
    "cookie",
    "te",
)
HEADER_VALUES = (
    b"",
    b"0",
    b"0.01",
    b"-1",
    b"nan",
    b"1e999",
    b"1,2",
    "٣".encode(),
    b"\xff\xfe",
    b"hard",
    b"expected",
    b"dear,cheap",
    b",",
    b"dear,,",
    b"gzip",
    b"chunked",
    b"Bearer x",
    b"100-continue",
    b"websocket",
    b"close",
    b"a" * 5000,
    b"\t",
    b"text/xml",
    b"99999999999999999999",
    b"bytes=0-",
    b"..%2f..",
)
PATHS = (
    "//",
    "/..",
    "/%2e%2e",
    "/.",
    ";x",
    "?a=b&a=c",
    "#f",
    "/%00",
    "/%ff",
    "%",
    "/💥",
    "/a" * 500,
)


@dataclass(frozen=True)
class Fuzzed:
    """A request as bytes. Whoever sends it reads until the connection is closed."""

    raw: bytes


def fuzzed(rng: random.Random) -> Fuzzed:
    """The next one; the same for the same state of rng."""
    method, path, body = rng.choice(GOOD)
    content = b"" if body is None else _content(rng, body)
    if rng.random() < 0.1:
        path += rng.choice(PATHS)
    if rng.random() < 0.05:
        method = rng.choice(("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "X"))
    head = [f"{method} {path} HTTP/1.1".encode("utf-8", "surrogatepass"), b"host: localhost"]
    head += [b"content-type: application/json", b"content-length: %d" % len(content)]
    while rng.random() < 0.3:
        head.append(rng.choice(HEADERS).encode() + b": " + rng.choice(HEADER_VALUES))
    raw = b"\r\n".join([*head, b"connection: close", b"", content])
    return Fuzzed(_damaged(rng, raw) if rng.random() < 0.05 else raw)


def good_request() -> bytes:
    """One that must be answered with 200."""
    content = json.dumps(CHAT).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
    head += f"content-length: {len(content)}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + content


def _content(rng: random.Random, body: dict[str, Any]) -> bytes:
    changed = json.loads(json.dumps(body))
    while rng.random() < 0.6:
        _change(rng, changed)
    content = json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.15:
        content = rng.choice(BYTES)(rng, content)
    return content


def _change(rng: random.Random, root: Any) -> None:
    """One value somewhere in the tree becomes another, goes, or is joined by one."""
    node = root
    while True:
        inner = [
            v
            for v in (node.values() if isinstance(node, dict) else node)
            if isinstance(v, dict | list) and v
        ]
        if not inner or rng.random() < 0.4:
            break
        node = rng.choice(inner)
    if isinstance(node, list):
        index = rng.randrange(len(node) + 1)
        node[index : index + rng.randrange(2)] = [_value(rng)]
        return
    name = rng.choice([*node, rng.choice(KEYS)])
    if rng.random() < 0.2:
        node.pop(name, None)
    else:
        node[name] = _value(rng)


def _value(rng: random.Random) -> Any:
    value = copy.deepcopy(rng.choice(VALUES))
    depth = rng.choice((0, 0, 0, 0, 3, 90, 300))
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _damaged(rng: random.Random, raw: bytes) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.randrange(1, 6)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(1, len(data) + 1)] if rng.random() < 0.3 else data)


BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _damaged,
    lambda _, content: content[: len(content) // 2],
    lambda _, content: content.replace(b'"model"', b'"model": 1, "model"', 1),
    lambda _, content: content.replace(b"0.01", b"1" * 5000 + b".5"),
    lambda _, content: content.replace(b"0.01", b"1e-99999999999999999999"),
    lambda _, content: content.replace(b"hi", rb"\ud800"),
    lambda _, content: content.replace(b"hi", b"\xed\xa0\x80"),
    lambda _, content: content.replace(b"null", b"NaN"),
    lambda _, content: content.decode("utf-8", "ignore").encode("utf-16"),
    lambda _, content: b"\xef\xbb\xbf" + content,
    lambda _, content: b"[" * 5000 + content,
    lambda _, content: b'{"a":' * 900 + content + b"}" * 900,
)
