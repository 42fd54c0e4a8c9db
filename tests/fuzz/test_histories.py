"""Random histories through every pair of surface and target; `fuzz_histories.py` runs more."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest
from fuzz_histories import TARGETS, Target, problems_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from random_histories import SURFACES, random_history
from strict_history import CHECKS, RefusedError


@pytest.mark.parametrize("target", TARGETS)
def test_no_history_is_refused_or_loses_a_word(target: str) -> None:
    place = list(TARGETS).index(target)
    seeds = range(1 + 30 * place, 31 + 30 * place)
    assert asyncio.run(run(seeds, [target])) == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("surface", SURFACES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**48))
def test_what_a_prompt_cache_keeps_stays_as_it_was(surface: str, target: str, seed: int) -> None:
    async def problems() -> list[str]:
        provider = Target(target)
        try:
            return await problems_of(provider, surface, random_history(seed))
        finally:
            await provider.upstream.close()

    assert asyncio.run(problems()) == []


@pytest.mark.slow
def test_ten_thousand_histories_are_taken() -> None:
    assert asyncio.run(run(range(10_000))) == []


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
