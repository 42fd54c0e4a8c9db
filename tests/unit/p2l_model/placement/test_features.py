from __future__ import annotations

import math
from datetime import date

import pytest

from p2l_model.placement.features import features, released_in, years
from p2l_model.placement.names import Name, parse


@pytest.mark.parametrize(
    ("model", "family", "version"),
    [
        ("claude-opus-4-5", "claude", 4.5),
        ("gpt-5.4-mini", "gpt", 5.4),
        ("o3-mini", "gpt", 4.8),
        ("chatgpt-4o-2024-09-07", "gpt", 4.0),
        ("kimi-k2.5", "kimi", 2.5),
        ("deepseek-v3.2", "deepseek", 3.2),
        ("qwen2.5-72b", "qwen", 2.5),
        ("mistral-large-2407", "mistral", None),
        ("mixtral-8x7b-v0.1", "mistral", 0.1),
        ("my-own-model", "my", None),
    ],
)
def test_family_and_version_are_read(model: str, family: str, version: float | None) -> None:
    found = features(model)
    assert found.family == family
    assert found.version == pytest.approx(version) if version is not None else not found.version


@pytest.mark.parametrize(
    ("model", "billions"),
    [("qwen2.5-72b", 72), ("mixtral-8x7b-v0.1", 56), ("big-2.4t", 2400), ("llama-3.2-1b", 1)],
)
def test_the_size_is_read_in_billions(model: str, billions: float) -> None:
    size = features(model).log_size
    assert size is not None
    assert math.exp(size) == pytest.approx(billions)


def test_words_for_a_size_are_whole_words() -> None:
    assert features("gemini-3.1-flash-lite").tiers == ("lite", "flash")
    assert features("minimax-m2").tiers == ()
    assert features("mistral-large-3").tiers == ("large",)


def test_a_release_is_as_given_else_as_named() -> None:
    name = parse("claude-opus-4-5-20251101")
    assert released_in(name) == pytest.approx(years(date(2025, 11, 1)))
    assert released_in(name, date(2026, 1, 1)) == 2026.0
    assert released_in(Name("mistral-large-2407", "", None)) == pytest.approx(2024 + 6.5 / 12)
    assert released_in(parse("gpt-5")) is None
