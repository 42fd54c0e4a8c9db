from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.changes import Changes
from p2l_model.local.layer import LocalLayer

NAMES = ("a", "b")


def noticed(before: float, after: float, n: int, seed: int) -> list[int]:
    """At which answers a change of model a is noticed; from the 200th on it is another model."""
    chance, changes = np.random.default_rng(seed), Changes()
    layer, found = LocalLayer.start(NAMES, np.zeros(2), 0.3 * np.eye(2)), []
    for k in range(n):
        good = before if k < 200 else after
        surprise = layer.learn_grade("a", float(chance.random() < good))
        if changes.note("a", surprise):
            layer.loosen("a")
            found.append(k)
    return found


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.4), (0.3, 0.8), (0.8, 0.3)])
def test_a_change_is_noticed_within_forty_answers(before: float, after: float) -> None:
    for seed in range(5):
        found = [k for k in noticed(before, after, 240, seed) if k >= 200]
        assert found != []


def test_a_model_that_stays_the_same_hardly_ever_seems_changed() -> None:
    false = sum(len(noticed(good, good, 400, seed)) for good in (0.5, 0.9) for seed in range(3))
    assert false <= 1, "in 2,400 answers"


def test_after_a_change_the_new_answers_count_for_more() -> None:
    layer = LocalLayer.start(NAMES, np.zeros(2), 0.3 * np.eye(2))
    for _ in range(60):
        layer.learn_grade("a", 0.9)
    before = layer.predict(NAMES)
    layer.loosen("a")
    after = layer.predict(NAMES)
    assert after.mean == pytest.approx(before.mean)
    assert after.sd[0] > before.sd[0] + 0.5
    assert after.sd[1] == pytest.approx(before.sd[1])
