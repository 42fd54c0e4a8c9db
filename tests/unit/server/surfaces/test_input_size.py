"""The bound on a request's input is one: nothing that a provider may read is left out of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.surfaces.forwarded import parse_completions_request
from server.surfaces.input_size import count_chat
from server.surfaces.messages.request import parse_messages_request
from server.surfaces.responses.request import parse_responses_request

LONG = "x" * 200_000
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": LONG}}
TEXTS = st.text(max_size=30)
NAMES = st.sampled_from(
    ["name", "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "refusal",
     "annotations", "extra_content", "tool_call_id", "provider_specific_fields", "anything"]
)  # fmt: skip
PARTS = st.sampled_from(["text", "refusal", "thinking", "redacted_thinking", "anything"])
VALUES = TEXTS | st.lists(st.dictionaries(st.sampled_from(["text", "data", "x"]), TEXTS))


def words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for below in value.values():
            yield from words(below)
    elif isinstance(value, list):
        for item in value:
            yield from words(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.slow
@given(
    content=TEXTS
    | st.lists(st.builds(lambda kind, text: {"type": kind, kind: text}, PARTS, TEXTS)),
    beside=st.dictionaries(NAMES, VALUES),
)
def test_every_word_of_a_message_is_within_the_bound(content: Any, beside: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": content, **beside}
    n_bytes = len("".join(words(message | {"role": ""})).encode())
    assert count_chat({"messages": [message]}).bound >= n_bytes


@pytest.mark.parametrize(
    "more",
    [
        {"reasoning": LONG},
        {"reasoning_details": [{"type": "reasoning.text", "text": LONG}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": LONG, "signature": "s"}]},
        {"content": [{"type": "thinking", "thinking": LONG}]},
        {"content": [{"type": "thinking", "text": "x", "thinking": LONG}]},
        {"annotations": [{"type": "file", "file": {"content": LONG}}]},
        {"tool_calls": [CALL]},
    ],
    ids=lambda more: next(iter(more)),
)
def test_words_do_not_hide_beside_the_content(more: dict[str, Any]) -> None:
    said = {"role": "assistant", "content": "x", **more}
    assert count_chat({"messages": [said]}).bound >= len(LONG)


FILE = {"type": "input_file", "file_url": "https://x.org/thousand-pages.pdf"}
DOCUMENT = {"type": "document", "source": {"type": "url", "url": "https://x.org/a.pdf"}}


@pytest.mark.parametrize(
    "items",
    [
        [{"role": "user", "content": [FILE, FILE]}],
        [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
         {"type": "function_call_output", "call_id": "c", "output": [FILE, FILE]}],
    ],
)  # fmt: skip
def test_files_by_address_count_in_responses(items: list[dict[str, Any]]) -> None:
    plain = parse_responses_request({"model": "m", "input": "x"}).counted().bound
    filed = parse_responses_request({"model": "m", "input": items}).counted().bound
    assert filed >= plain + 2 * 50_000


def test_documents_by_address_count_in_messages() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [DOCUMENT]}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    turns = [
        {"role": "user", "content": [DOCUMENT]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    body = {"model": "m", "max_tokens": 9, "messages": turns}
    assert parse_messages_request(body).counted().bound >= 2 * 50_000 + len(orjson.dumps(turns))


def test_a_suffix_is_input() -> None:
    counted = parse_completions_request({"model": "m", "prompt": "x", "suffix": LONG}).counted()
    assert counted.bound >= len(LONG)


def test_a_sound_of_an_earlier_answer_is_bounded_as_media() -> None:
    heard = {"role": "assistant", "content": "x", "audio": {"id": "audio_1"}}
    assert count_chat({"messages": [heard]}).bound >= 50_000


@pytest.mark.parametrize("kind", [["image"], {"image": 1}, None, 7])
def test_a_type_that_is_none_is_no_media(kind: object) -> None:
    body = {"messages": [{"role": "user", "content": "x"}]}
    native = {"messages": [{"role": "user", "content": [{"type": kind, "text": "x"}]}]}
    assert count_chat(body, native).bound > 0
