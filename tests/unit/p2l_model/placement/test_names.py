"""Which spellings are one model, and which are not."""

from __future__ import annotations

import math
from datetime import date

import pytest

from p2l_model.placement.names import EFFORTS, NONE, THINKING, UNSAID, effort_rank, parse

SAME = [
    ("anthropic/claude-opus-4.5", "claude-opus-4-5-20251101"),
    ("opus-4.5", "claude-4-5-opus"),
    ("anthropic/claude-opus-4.8@subscription", "claude-opus-4-8"),
    ("claude-4-1-opus-20250805-base", "claude-opus-4.1"),
    ("openai/gpt-oss:120b-cloud@ollama-cloud", "gpt-oss-120b"),
    ("openai/gpt-oss-120b:exacto", "GPT-OSS-120B"),
    ("together_ai/meta-llama__meta-llama-3.1-405b-instruct-turbo", "Llama-3.1-405B-Inst@sambanova"),
    ("accounts/fireworks/models/llama-v3p1-405b-instruct", "llama-3.1-405b-instruct-fp8"),
    ("llama3.1:8b", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    ("gemma4:31b@spark-local", "google/gemma-4-31b-it"),
    ("gemma-4-12b-it-q4_k_m.gguf@spark-local", "gemma-4-12b-it"),
    ("Qwen 3.6 Max Preview", "qwen/qwen3.6-max-preview"),
    ("qwen/qwen-2.5-72b-instruct", "qwen2.5-72b-instruct-turbo"),
    ("Qwen3.5-397B-A17B", "qwen3.5:397b-cloud@ollama-cloud"),
    ("moonshotai/kimi-k2-0711", "kimi-k2"),
    ("mistralai/mistral-large-3-675b-instruct-2512@nim", "mistral-large-2512"),
    ("z-ai/glm5@nim", "glm-5"),
    ("Baidu Ernie 5.0", "ernie-5.0"),
    ("ByteDance Seed2.0 Pro", "doubao-seed-2.0-pro"),
    ("x-ai/grok-4", "grok-4-0709"),
    ("gemini-3-pro-preview-11-2025-high", "google/gemini-3-pro-low"),
    ("amazon.nova-lite-v1:0", "amazon-nova-lite-v1.0"),
    ("gpt-4.1-2025-04-14", "openai/gpt-4.1"),
    ("Phi-3-mini-4k-instruct", "phi-3-mini-4k-instruct"),
]

APART = [
    ("deepseek-v3.1", "deepseek-v3.1-terminus"),
    ("deepseek-v3.2", "deepseek-v3.2-exp"),
    ("deepseek-v3.2", "deepseek-v3.2-speciale"),
    ("deepseek-v4-flash", "deepseek-v4-pro"),
    ("kimi-k2", "kimi-k2-0905"),
    ("kimi-k2", "kimi-k2.5"),
    ("qwen3-235b-a22b", "qwen3-235b-a22b-instruct-2507"),
    ("qwen3-32b", "qwen3-30b-a3b"),
    ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
    ("claude-3-5-sonnet-20240620", "claude-3-5-sonnet-20241022"),
    ("o1", "o1-preview"),
    ("o1", "o1-mini"),
    ("qwq-32b", "qwq-32b-preview"),
    ("gpt-5", "gpt-5-mini"),
    ("gpt-5.1-codex", "gpt-5.1-codex-max"),
    ("gpt-5", "gpt-5-pro"),
    ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
    ("gemini-3-pro", "gemini-3.1-pro"),
    ("grok-4", "grok-4-fast"),
    ("llama-3.1-8b", "llama-3-8b"),
    ("glm-4-9b-chat", "glm-4.9"),
    ("qwen-14b-chat", "qwen1.5-14b-chat"),
    ("mistral-large-2407", "mistral-large-2411"),
    ("phi-4", "phi-4-mini"),
]

EFFORT = [
    ("gpt-5-high", "high"),
    ("openai/gpt-5-mini-minimal", "minimal"),
    ("gpt-5.1-2025-11-13-nothinking", NONE),
    ("GPT-5.4 (no reasoning)", NONE),
    ("GPT-5.5 (high reasoning)", "high"),
    ("gpt-5.4-high (codex-harness)", "high"),
    ("claude-opus-4-5-20251101-thinking-64k-low-effort", "low"),
    ("claude-sonnet-4-6-thinking-auto-medium-effort", "medium"),
    ("claude-3-7-sonnet-20250219-thinking-32k", THINKING),
    ("gemini-2.5-flash-lite-highthinking", "high"),
    ("gemini-3-flash (thinking-minimal)", "minimal"),
    ("deepseek-v3.2-thinking", THINKING),
    ("qwen3-235b-a22b-nothink", NONE),
    ("mimo-v2-flash (non-thinking)", NONE),
    ("grok-4-1-fast-non-reasoning", NONE),
    ("o3-mini-2025-01-31-low", "low"),
    ("claude-fable-5-xhigh-effort", "xhigh"),
    ("gpt-5.1-codex-max", UNSAID),
    ("qwen3.7-max", UNSAID),
    ("mistral-medium-3", UNSAID),
    ("ministral-8b-high-quality", UNSAID),
    ("deepseek-v3.2", UNSAID),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_model_are_one(one: str, other: str) -> None:
    assert parse(one).model == parse(other).model


@pytest.mark.parametrize(("one", "other"), APART)
def test_models_that_are_sold_apart_stay_apart(one: str, other: str) -> None:
    assert parse(one).model != parse(other).model


@pytest.mark.parametrize(("name", "effort"), EFFORT)
def test_an_effort_in_a_name_is_read_and_is_no_part_of_the_model(name: str, effort: str) -> None:
    read = parse(name)
    assert read.effort == effort
    assert not any(read.model.endswith(f"-{one}") for one in EFFORTS if one != "max")


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("claude-opus-4-5-20251101", date(2025, 11, 1)),
        ("gpt-4o-2024-05-13", date(2024, 5, 13)),
        ("chatgpt-4o-latest-24-09-07", date(2024, 9, 7)),
        ("gpt-5", None),
        ("model-20259999", None),
    ],
)
def test_a_date_in_a_name_is_read(name: str, day: date | None) -> None:
    assert parse(name).dated == day


@pytest.mark.parametrize("name", ["", "/", "-", "@x", "(  )", "ÄÖ-7b", "a" * 5000])
def test_any_text_can_be_read(name: str) -> None:
    assert isinstance(parse(name).model, str)


def test_efforts_are_ranked_in_their_order() -> None:
    ranks = [effort_rank(effort) for effort in EFFORTS]
    assert ranks == sorted(ranks)
    assert effort_rank("low") < effort_rank(THINKING) < effort_rank("high")
    assert math.isnan(effort_rank(UNSAID))
