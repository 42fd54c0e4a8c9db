"""Which names are one column: pairs that are, and pairs that are not."""

from __future__ import annotations

import pytest

from p2l_model.data.model_names import bare, columns, unified

ONE = [
    ("anthropic/claude-opus-5", "anthropic/claude-opus-5@subscription"),
    ("anthropic/claude-sonnet-4", "claude-sonnet-4-20250514"),
    ("deepseek-ai/deepseek-v4-flash@nim", "deepseek/deepseek-v4-flash"),
    ("gemma4:31b@spark-local", "google/gemma-4-31b-it@nim"),
    ("llama-3.3-70b-versatile@groq", "meta-llama/llama-3.3-70b-instruct"),
    ("Mistral-Nemo-Instruct-2407", "mistralai/mistral-nemo"),
    ("openai/gpt-oss:120b-cloud@ollama-cloud", "openai/gpt-oss-120b"),
    ("qwen/qwen-2.5-72b-instruct", "Qwen2.5-72B-Instruct"),
    ("qwen/qwq-32b", "qwq-32b"),
    ("z-ai/glm5@nim", "z-ai/glm-5"),
    ("moonshotai/kimi-k2-instruct-0905", "moonshotai/kimi-k2-0905"),
]
TWO = [
    ("deepseek/deepseek-v3.2", "deepseek/deepseek-v3.2-thinking"),
    ("qwen/qwen3-next-80b-a3b-instruct", "qwen/qwen3-next-80b-a3b-thinking"),
    ("moonshotai/kimi-k2", "moonshotai/kimi-k2-0905"),
    ("moonshotai/kimi-k2", "moonshotai/kimi-k2-thinking"),
    ("openai/gpt-5-low", "openai/gpt-5-high"),
    ("anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4-high"),
    ("deepseek/deepseek-v4-flash", "deepseek/deepseek-v4-flash-0731"),
    ("Meta-Llama-3-8B", "Meta-Llama-3-8B-Instruct"),
    ("Mistral-7B-v0.1", "Mistral-7B-Instruct-v0.1"),
    ("gpt-3.5-turbo", "gpt-3.5-turbo-instruct"),
    ("gpt-4-0314", "gpt-4-1106-preview"),
    ("claude-2.1", "claude-2.1_concise"),
    ("gemini-1.5-pro", "gemini-1.5-pro-exp-0801"),
    ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
    ("x", "y"),
]


@pytest.mark.parametrize(("one", "other"), ONE)
def test_spellings_of_a_model_at_an_effort_are_one_column(one: str, other: str) -> None:
    table = unified([one, other])
    assert table[one] == table[other]
    assert columns([other], [one]) == [0]


@pytest.mark.parametrize(("one", "other"), TWO)
def test_other_models_and_efforts_are_columns_of_their_own(one: str, other: str) -> None:
    assert unified([one, other]) == {one: one, other: other}
    assert columns([other], [one]) == [-1]


def test_a_column_has_the_plainest_spelling() -> None:
    names = ["mistralai/mistral-nemo", "Mistral-Nemo-Instruct-2407"]
    assert set(unified(names).values()) == {"Mistral-Nemo-Instruct-2407"}
    assert bare("anthropic/claude-opus-5@subscription") == "claude-opus-5"
    assert bare("o3-mini") == "o3-mini"


def test_an_exact_name_comes_before_one_that_is_alike() -> None:
    known = ["openai/gpt-oss-120b", "gpt-oss-120b"]
    assert columns(known, known) == [0, 1]
