"""Grades and feedback as a local layer reads them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.storage.database import Database
from server.storage.feedback import Opinion, add_feedback, answers_by_model
from server.storage.graded_answers import answers_version, graded_answers
from server.storage.grades import Grade, add_grades
from server.storage.migrate import migrate

BOARD = {"family": "grk", "models": ["dear"], "coefficients": [0.1 + 0.2], "eta": 0.5, "gamma": 0.0}
GRADE = Grade(
    id="g1", source="judge:x", model="dear", score=0.25, leaderboard=BOARD, created_at=1_000.5
)


@pytest.fixture
def database(storage_url: str) -> Iterator[Database]:
    found = Database(storage_url)
    migrate(found)
    yield found
    found.close()


def test_grades_are_read_beside_feedback(database: Database) -> None:
    before = answers_version(database)
    add_grades(database, [GRADE])
    assert answers_version(database) != before
    (grade,) = graded_answers(database)
    assert (grade.at_us, grade.key_name, grade.source) == (1_000_500_000, "", "judge:x")
    assert (grade.model, grade.score, grade.winner) == ("dear", 0.25, None)
    assert grade.board == BOARD
    assert answers_by_model(database) == {"dear": 1}


@pytest.mark.parametrize(
    ("score", "winner"), [(1.0, "model_a"), (0.5, "tie"), (0.0, "model_b"), (0.6, "tie")]
)
def test_a_judges_comparison_is_a_vote(database: Database, score: float, winner: str) -> None:
    pair = Grade(id="g2", source="judge:x", model="dear", model_b="cheap", score=score)
    add_grades(database, [pair])
    (vote,) = graded_answers(database)
    assert (vote.model, vote.model_b, vote.score, vote.winner) == ("dear", "cheap", None, winner)


def test_feedback_is_of_the_model_of_the_catalogue(database: Database) -> None:
    """Several models may share a column of the leaderboard; older releases stored only that."""
    add_feedback(database, "r1", "a", Opinion(model="row", rating=1.0, card="new"))
    add_feedback(database, "r2", "a", Opinion(model="row", rating=0.5))
    pair = Opinion(model_a="x", model_b="y", winner="model_a", card_a="first", card_b="second")
    add_feedback(database, "r3", "b", pair)
    found = {one.winner or one.score: (one.model, one.model_b) for one in graded_answers(database)}
    assert found == {1.0: ("new", None), 0.5: ("row", None), "model_a": ("first", "second")}
