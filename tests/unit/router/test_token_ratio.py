"""A provider's tokenizer is learnt from what it reports."""

from __future__ import annotations

import random

import pytest

from router.token_ratio import TokenRatio


def test_a_steady_ratio_is_learnt_and_kept_in_doubt_at_first() -> None:
    chance, ratio = random.Random(0), TokenRatio()
    assert ratio.corrected(1000) == 1000
    first = ratio.observed(1000, 1300)
    assert 1.0 < first.value < 1.3
    for _ in range(300):
        estimated = chance.randint(100, 4000)
        ratio = ratio.observed(estimated, round(1.3 * estimated * chance.uniform(0.9, 1.1)))
    assert ratio.value == pytest.approx(1.3, rel=0.02)
    assert TokenRatio.from_dict({k: str(v) for k, v in ratio.to_dict().items()}) == ratio


def test_a_change_of_tokenizer_is_followed() -> None:
    ratio = TokenRatio()
    for reported in [1300] * 300 + [900] * 1000:
        ratio = ratio.observed(1000, reported)
    assert ratio.value == pytest.approx(0.9, rel=0.02)


@pytest.mark.parametrize(("estimated", "reported"), [(10, 40), (1000, 0), (1000, 9000), (1000, -1)])
def test_what_teaches_nothing(estimated: int, reported: int) -> None:
    assert TokenRatio().observed(estimated, reported) == TokenRatio()


def test_nothing_stays_nothing() -> None:
    assert TokenRatio(0.5, 100.0).corrected(0) == 0
    assert TokenRatio(-1.3, 100.0).corrected(1) == 1
