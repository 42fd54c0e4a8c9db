"""Grades are stored once, read in order, and go when they are old: on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from server.storage.database import Database
from server.storage.grades import Grade, add_grades, grades_version, latest_grades
from server.storage.migrate import migrate
from server.storage.pruning import delete_older
from server.storage.schema import grades

BOARD = {"family": "bt", "models": ["a", "b"], "coefficients": [0.5, -0.25]}


@pytest.fixture
def database(storage_url: str) -> Iterator[Database]:
    made = Database(storage_url)
    migrate(made)
    yield made
    made.close()


def grade(name: str, at_s: float = 1_000.0, score: float = 0.5) -> Grade:
    return Grade(id=name, source="judge:j:1", model="a", model_b="b", score=score, created_at=at_s)


def test_a_grade_is_read_as_it_was_stored(database: Database) -> None:
    one = Grade(
        id="run/7",
        source="checker:regex",
        model="a",
        score=0.1 + 0.2,
        key_name="team",
        leaderboard=BOARD,
        created_at=1_700_000_000.25,
    )
    assert add_grades(database, [one]) == 1
    assert latest_grades(database) == [one]


def test_the_same_grade_twice_is_one(database: Database) -> None:
    before = grades_version(database)
    assert add_grades(database, [grade("x"), grade("y")]) == 2
    now = grades_version(database)
    assert add_grades(database, [grade("x", score=1.0), grade("z")]) == 1
    assert len({before, now, grades_version(database)}) == 3
    assert {one.id: one.score for one in latest_grades(database)} == {"x": 0.5, "y": 0.5, "z": 0.5}


def test_the_latest_are_read_oldest_first(database: Database) -> None:
    add_grades(database, [grade(f"g{n}", at_s=float(n)) for n in (3, 1, 2)])
    assert [one.id for one in latest_grades(database, most=2)] == ["g2", "g3"]


def test_a_damaged_row_hides_no_other(database: Database) -> None:
    add_grades(database, [grade("bad"), grade("good")])
    with database.begin() as connection:
        connection.execute(update(grades).where(grades.c.id == "bad").values(leaderboard="{"))
    assert [one.id for one in latest_grades(database)] == ["good"]


def test_old_ones_are_deleted(database: Database) -> None:
    now = time.time()
    add_grades(database, [grade("old", now - 3 * 86_400), grade("new", now)])
    assert delete_older(database, grades, 2, now) == 1
    assert [one.id for one in latest_grades(database)] == ["new"]


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_is_between_0_and_1(score: float) -> None:
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        grade("x", score=score)
