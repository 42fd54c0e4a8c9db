"""Which bodies may be asked again, and the share that is."""

from __future__ import annotations

from typing import Any

import pytest

from server.shadow.consent import is_sampled, is_short_text, repeated_body

USER = {"role": "user", "content": "hello"}
PARTS: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
IMAGE: dict[str, Any] = {
    "role": "user",
    "content": [{"type": "image_url", "image_url": {"url": "data:,"}}],
}


@pytest.mark.parametrize(
    ("messages", "may"),
    [
        ([USER], True),
        ([{"role": "system", "content": "be kind"}, USER], True),
        ([PARTS], True),
        ([USER, {"role": "assistant", "content": "hi"}, USER], True),
        ([IMAGE], False),
        ([{"role": "user", "content": [*PARTS["content"], *IMAGE["content"]]}], False),
        ([USER, {"role": "tool", "tool_call_id": "c", "content": "x"}], False),
        ([USER, {"role": "assistant", "content": "x", "tool_calls": [{"id": "c"}]}, USER], False),
        ([{"role": "user", "content": "x" * 100_001}], False),
        ([], False),
        (None, False),
        (["hello"], False),
    ],
)
def test_only_short_plain_text_outside_tool_loops(messages: object, may: bool) -> None:
    assert is_short_text(messages) is may


def test_the_share_is_kept_and_is_the_same_at_every_gateway() -> None:
    names = [f"req_{n}" for n in range(20_000)]
    chosen = [name for name in names if is_sampled(name, 0.02)]
    assert 320 < len(chosen) < 480  # 400 are expected, with a deviation of 20
    assert chosen == [name for name in chosen if is_sampled(name, 0.5)]
    assert not any(is_sampled(name, 0.0) for name in names)
    assert all(is_sampled(name, 1.0) for name in names)


def test_only_what_makes_an_answer_good_is_repeated() -> None:
    body: dict[str, Any] = {
        "model": "p2l", "messages": [USER], "stream": True, "user": "someone", "metadata": {"a": 1},
        "temperature": 0.0, "max_tokens": 5, "p2l": {}, "response_format": {"type": "json_object"},
        "stop": None,
    }  # fmt: skip
    assert repeated_body(body) == {
        "messages": [USER], "temperature": 0.0, "response_format": {"type": "json_object"},
    }  # fmt: skip
