"""What is learnt from receipts of earlier versions, of other checkpoints, and from damaged ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from p2l_model.types import Outcome, PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard
from server.gateway.local_frame import frame_of
from server.gateway.local_learning import Lesson
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


BOARD = {"models": list(COLUMNS), "coefficients": [1.0, 2.0], "eta": 0.1}


def lesson_of(board: dict[str, Any], **more: Any) -> Lesson | None:
    frame = frame_of(CARDS, COLUMNS, USUAL)
    assert frame is not None
    fields = {"score": None, "winner": "model_a", "model_b": "claude-sonnet-4"} | more
    said = GradedAnswer(1, "a", None, None, "gpt-4o", board=board, **fields)
    return _lesson(said, frame, frame.known_as())


def test_a_taste_is_not_learnt_twice() -> None:
    """What had moved a receipt's leaderboard in the version before is taken off it."""
    moved = BOARD | {"coefficients": [1.75, 1.25], "eta": 0.4}
    taste = {"shift": [0.75, -0.75], "eta": 0.3, "n_votes": 9}
    plain, again = lesson_of(BOARD), lesson_of(moved, taste=taste)
    assert plain is not None
    assert again is not None
    assert plain.terms.deviation["gpt-4o"] != 0.0
    assert again.eta == pytest.approx(plain.eta)
    assert again.terms.difficulty == pytest.approx(plain.terms.difficulty)
    assert again.terms.deviation == pytest.approx(plain.terms.deviation)
    damaged = lesson_of(moved, taste={"shift": [1.0], "eta": "high"})
    assert damaged is not None
    assert damaged.terms.difficulty == 0.0


def test_what_cannot_be_used_is_left_out() -> None:
    """Votes on models that the gateway does not have, and without an outcome; of a vote on another
    checkpoint's leaderboard only the outcome counts."""
    assert lesson_of(BOARD, model_b="unknown") is None
    assert lesson_of(BOARD, model_b="gpt-4o") is None
    assert lesson_of(BOARD, winner="nobody") is None
    other = lesson_of(BOARD | {"models": ["gpt-4o", "other"]})
    assert other is not None
    assert other.outcome is Outcome.MODEL_A
    assert (other.terms.difficulty, set(other.terms.deviation.values())) == (0.0, {0.0})
