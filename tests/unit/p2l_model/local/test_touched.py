from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.layer import LocalLayer
from p2l_model.local.touched import Places, Touched

NAMES = ("a", "b", "c")
SHARED = range(4)


def layer() -> LocalLayer:
    """With heads of two numbers, and answers by which all numbers hang together."""
    made = LocalLayer.start(NAMES, np.array([0.5, 0.0, -0.5]), 0.4 * np.eye(3) + 0.1, 2)
    for n in range(30):
        made.learn_grade(NAMES[n % 3], float(n % 4 == 0), source="judge" if n % 2 else None)
    return made


@pytest.mark.parametrize("names", [("b",), ("b", "c")])
def test_an_answer_moves_all_numbers_as_a_noisy_look_at_the_values_would(
    names: tuple[str, ...],
) -> None:
    state = layer().state
    rows = []
    for name in names:
        places = Places.of(state, SHARED, name, [state.source_at["judge"]])
        rows.append((places, np.array([1.0, 0.3, 0.2, -0.4, 1.0, 1.0, 0.8, -0.6])))
    expected = []
    for block in state.blocks:
        factors = np.zeros((len(names), block.numbers.size))
        for r, (places, factor) in enumerate(rows):
            kept = np.isin(places.numbers, block.numbers)
            factors[r, block.places(places.numbers[kept])] = factor[kept]
        for mean, covariance in zip(block.mean, block.covariance, strict=True):
            spread = factors @ covariance @ factors.T
            expected.append((factors @ mean, spread))
            gain = np.linalg.inv(spread + 0.5 * np.eye(len(names)))
            across = covariance @ factors.T
            expected[-1] += mean + across @ gain[0], covariance - across @ gain @ across.T
    touched = Touched(state, rows)
    for k, (mean, spread, *_) in enumerate(expected):
        assert touched.mean[k] == pytest.approx(mean)
        assert touched.spread[k] == pytest.approx(spread)
    gain = np.linalg.inv(touched.spread + 0.5 * np.eye(len(names)))
    touched.move(gain[:, 0], gain)
    found = [pair for one in state.blocks for pair in zip(one.mean, one.covariance, strict=True)]
    for (mean, covariance), (*_, moved, shrunk) in zip(found, expected, strict=True):
        assert mean == pytest.approx(moved)
        assert covariance == pytest.approx(shrunk)


def test_components_without_heads_are_over_fewer_numbers() -> None:
    plain, headed = layer().state.blocks
    assert (plain.has_heads, headed.has_heads) == (False, True)
    assert (len(plain.parts), plain.numbers.size) == (12, 4 + 3 + 2)
    assert (len(headed.parts), headed.numbers.size) == (6, 4 + 3 * 3 + 2)
