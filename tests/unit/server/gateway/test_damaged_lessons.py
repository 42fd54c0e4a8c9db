"""One damaged receipt neither ends nor spoils what is learnt from all the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard
from server.gateway.local_frame import frame_of
from server.storage.graded_answers import GradedAnswer
from server.tasks.learn_local import _lesson

COLUMNS = ("gpt-4o", "claude-sonnet-4")
USUAL = PromptLeaderboard(PreferenceFamily.GRK, COLUMNS, np.array([0.4, 0.9]), eta=0.1, gamma=0.2)
CARDS = [
    ModelCard(name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=None)
    for name in COLUMNS
]


@pytest.mark.parametrize(
    "changes",
    [
        {"coefficients": [1.0]},
        {"coefficients": [1.0, 2.0, 3.0]},
        {"coefficients": [1.0, None]},
        {"coefficients": [[1.0, 2.0], [1.0, 2.0]]},
        {"coefficients": 3.0},
        {"eta": "NaN"},
    ],
)
def test_a_leaderboard_that_cannot_be_read_says_nothing(changes: dict[str, Any]) -> None:
    frame = frame_of(CARDS, COLUMNS, USUAL)
    assert frame is not None
    board = {"models": list(COLUMNS), "coefficients": [1.0, 2.0], "eta": 0.1} | changes
    answer = GradedAnswer(1, "a", None, None, "gpt-4o", None, 1.0, None, board)
    found = _lesson(answer, frame, frame.known_as())
    assert found is not None
    assert math.isfinite(found.eta)
    told = [found.terms.difficulty, *found.terms.deviation.values()]
    assert all(map(math.isfinite, told))
    assert "eta" in changes or told == [0.0, 0.0, 0.0]
