"""Random histories through every pair of surface and target; `fuzz_histories.py` runs more."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from fuzz_histories import KEY, TARGETS, Target, problems_of, run, sent_to
from hypothesis import given, settings
from hypothesis import strategies as st
from random_histories import SURFACES, Renderer, random_history
from strict_history import CHECKS, RefusedError

from examples import examples
from server.errors import ApiError
from server.upstream.signatures import Signatures


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_no_history_is_refused_or_loses_a_word(target: str) -> None:
    place = list(TARGETS).index(target)
    seeds = range(1 + 30 * place, 31 + 30 * place)
    assert asyncio.run(run(seeds, [target])) == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("surface", SURFACES)
@settings(max_examples=examples(20), deadline=None)
@given(seed=st.integers(0, 2**48))
def test_what_a_prompt_cache_keeps_stays_as_it_was(surface: str, target: str, seed: int) -> None:
    async def problems() -> list[str]:
        provider = Target(target)
        try:
            return await problems_of(provider, surface, random_history(seed))
        finally:
            await provider.upstream.close()

    assert asyncio.run(problems()) == []


USER = {"role": "user", "content": "x"}
CALL = {"id": "abcdefgh1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RAW: dict[str, dict[str, object]] = {
    "openai": {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
    "groq": {"messages": [USER, {"role": "assistant", "content": "y", "annotations": []}, USER]},
    "mistral": {"messages": [USER, {"role": "assistant", "content": "y", "reasoning": "z"}, USER]},
    "deepseek": {"messages": [
        USER, {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "abcdefgh1", "content": "y"}]},
    "vllm": {"messages": [USER, {"role": "system", "content": "y"}]},
    "xai": {"messages": [USER, {"role": "developer", "content": "y"}]},
    "responses": {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
    "anthropic": {"messages": [USER, {"role": "assistant", "content": [
        {"type": "tool_use", "id": "f:0", "name": "f", "input": {}}]}, USER]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": ""}]}]},
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_the_providers_are_strict(target: str) -> None:
    with pytest.raises(RefusedError):
        CHECKS[target](RAW[target])


def test_histories_are_various() -> None:
    steps = [step for seed in islice(range(10**6), 50) for step in random_history(seed).steps]
    assert {step.kind for step in steps} == {"system", "user", "assistant", "result"}
    assert len({step.thought for step in steps}) > 5


JUNK = (
    None, 1, "x", True, [], {}, [1], [None], [[]], {"type": 1}, [{"type": "text", "text": 1}],
    [{"type": "tool_use"}], [{"id": 1, "function": {"name": 1, "arguments": 1}}],
    [{"type": "thinking", "thinking": 1, "signature": 2}],
)  # fmt: skip
FIELDS = (
    "tool_calls", "content", "reasoning_details", "thinking_blocks", "extra_content", "signature",
    "input", "type", "refusal", "id", "call_id", "encrypted_content", "summary", "output",
)  # fmt: skip


def spoilt(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """A body in which things stand where they do not belong."""
    if depth > 1 and chance.random() < 0.04:
        return chance.choice(JUNK)
    if isinstance(value, list):
        return [spoilt(chance, item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    out = {name: spoilt(chance, inside, depth + 1) for name, inside in value.items()}
    if chance.random() < 0.03:
        out[chance.choice(FIELDS)] = chance.choice(JUNK)
    return out


@pytest.mark.parametrize("name", TARGETS)
def test_a_history_of_nonsense_is_an_error_and_no_exception(name: str) -> None:
    async def send() -> None:
        target = Target(name)
        target.is_strict = False
        renderer = Renderer(target.marks, Signatures("https://elsewhere.example", KEY))
        for seed in range(120):
            chance, history = random.Random(seed), random_history(seed)
            surface = SURFACES[seed % len(SURFACES)]
            body = spoilt(chance, renderer.body(surface, history, history.cuts[-1]))
            with suppress(ApiError, RefusedError):
                await sent_to(target, surface, body)
        await target.upstream.close()

    asyncio.run(send())
