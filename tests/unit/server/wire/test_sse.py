from __future__ import annotations

import itertools
import json

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.wire.sse import (
    DONE,
    SseEvent,
    SseParser,
    SseTooLargeError,
    encode_event,
    error_event,
)


def parse(wire: bytes, cuts: list[int] | None = None) -> list[SseEvent]:
    parser = SseParser()
    at = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts or [])})
    pieces = [wire[start:end] for start, end in itertools.pairwise(at)]
    return [event for piece in pieces for event in parser.feed(piece)]


def payloads(wire: bytes, cuts: list[int] | None = None) -> list[bytes]:
    return [event.data for event in parse(wire, cuts)]


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data:no space\n\n", [b"no space"]),
        (b"data:  one space goes\n\n", [b" one space goes"]),
        (b"data: first\ndata: second\n\n", [b"first\nsecond"]),
        (b": a comment\n\ndata: x\n: another\n\n", [b"x"]),
        (b"id: 7\nretry: 10\nunknown: y\ndata: x\n\n", [b"x"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: after a byte order mark\n\n", [b"after a byte order mark"]),
        (b"data\n\n", [b""]),
        (b"\n\n\n", []),
        (b"data: unfinished\n", []),
    ],
)
def test_parses_what_the_standard_allows(wire: bytes, expected: list[bytes]) -> None:
    assert payloads(wire) == expected


def test_an_event_keeps_its_name_and_the_next_starts_without() -> None:
    assert parse(b"event: error\ndata: x\n\ndata: y\n\n") == [
        SseEvent(b"x", b"error"),
        SseEvent(b"y", b""),
    ]


@given(
    texts=st.lists(st.text(alphabet="aé€😀 :{}", min_size=1), min_size=1, max_size=5),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 10_000), max_size=30),
)
def test_cuts_anywhere_change_nothing(texts: list[str], end: bytes, cuts: list[int]) -> None:
    wire = b"".join(b": ping" + end + b"data: " + t.encode() + end + end for t in texts)
    assert payloads(wire, cuts) == [text.encode() for text in texts]
    assert payloads(wire, list(range(len(wire)))) == [text.encode() for text in texts]


def test_flush_gives_the_event_that_the_end_cut_off() -> None:
    for tail in (b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r"):
        parser = SseParser()
        assert parser.feed(tail) == []
        assert [event.data for event in parser.flush()] == [b"[DONE]"]
        assert parser.flush() == []


def test_a_huge_event_is_refused_and_a_large_one_is_not() -> None:
    parser = SseParser(max_event_bytes=1000)
    assert len(parser.feed(b"data: " + b"x" * 900 + b"\n\n")) == 1
    for _ in range(10):
        parser.feed(b"y" * 100)
    with pytest.raises(SseTooLargeError):
        parser.feed(b"y")


def test_comments_never_add_up_to_a_huge_event() -> None:
    parser = SseParser(max_event_bytes=100)
    for _ in range(100):
        parser.feed(b": still working\n")
    assert [event.data for event in parser.feed(b"data: x\n\n")] == [b"x"]


@given(st.binary())
def test_no_bytes_make_the_parser_fail(wire: bytes) -> None:
    parser = SseParser()
    parser.feed(wire)
    parser.flush()


@given(st.text(alphabet="ab\r\n é"))
def test_encoded_payloads_come_back(text: str) -> None:
    [event] = parse(encode_event(text.encode()))
    assert event.data.decode() == text.replace("\r\n", "\n").replace("\r", "\n")


def test_the_repr_of_an_event_shows_no_payload() -> None:
    assert "secret" not in repr(SseEvent(b"secret", parsed={"a": "secret"}))


@pytest.mark.slow
def test_the_official_sdk_raises_on_our_error_event() -> None:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}],
    }
    error = {"message": "it broke", "type": "server_error", "param": None, "code": "upstream_error"}
    wire = encode_event(json.dumps(chunk).encode()) + error_event(error) + DONE
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=wire)
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    with openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http) as client:
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        assert next(stream).choices[0].delta.content == "Hi"
        with pytest.raises(openai.APIError, match="it broke") as caught:
            next(stream)
    assert caught.value.code == "upstream_error"
