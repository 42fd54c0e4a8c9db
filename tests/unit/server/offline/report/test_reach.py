"""What a score costs, where settings differ by no more than the order of a sum."""

from __future__ import annotations

import numpy as np
import pytest

from server.offline.report.reach import costs_of, reach, steps


def test_settings_of_one_score_are_one_step_whatever_the_sum_rounds_to() -> None:
    cost = np.array([0.002, 0.0087, 0.0099])
    score = np.array([0.975, 0.975 + 2e-16, 1.0])
    found = steps(cost, score)
    assert found.setting.tolist() == [0, 2]
    mix = reach(cost, score, 0.99)
    assert mix is not None
    assert mix.cost_usd == pytest.approx(0.4 * 0.002 + 0.6 * 0.0099)
    assert costs_of(cost, score, np.array([0.99, 1.01])) == pytest.approx([mix.cost_usd, np.inf])
