"""Half a count would look like a whole one: it is none."""

from __future__ import annotations

import pytest

from server.upstream.gemini.reply import usage_of
from server.wire.surface import Surface
from server.wire.usage import parse_usage

NO_COUNTS = ("100", [100], {}, True, -1, 1e308, 2**40)
MESSAGES = {"input_tokens": 100, "cache_read_input_tokens": 10, "output_tokens": 40}
GEMINI = {"promptTokenCount": 100, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 40,
          "thoughtsTokenCount": 6}  # fmt: skip


@pytest.mark.parametrize("odd", NO_COUNTS)
def test_tokens_of_the_cache_alone_are_no_prompt(odd: object) -> None:
    whole = parse_usage(MESSAGES, Surface.MESSAGES)
    assert whole is not None
    assert whole.prompt_tokens == 110
    half = parse_usage({**MESSAGES, "input_tokens": odd}, Surface.MESSAGES)
    assert half is not None
    assert (half.prompt_tokens, half.completion_tokens) == (0, 40)
    silent = {**MESSAGES, "input_tokens": odd, "output_tokens": odd}
    assert parse_usage(silent, Surface.MESSAGES) is None


@pytest.mark.parametrize("odd", NO_COUNTS)
def test_thoughts_alone_are_no_answer_and_tools_no_prompt(odd: object) -> None:
    whole = usage_of(GEMINI)
    assert whole is not None
    assert (whole["prompt_tokens"], whole["completion_tokens"]) == (105, 46)
    half = usage_of({**GEMINI, "promptTokenCount": odd})
    assert half is not None
    assert (half["prompt_tokens"], half["completion_tokens"]) == (0, 46)
    half = usage_of({**GEMINI, "candidatesTokenCount": odd})
    assert half is not None
    assert (half["prompt_tokens"], half["completion_tokens"]) == (105, 0)
