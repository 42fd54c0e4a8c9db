"""The form in which processes share sessions: what is written is read, and nothing else is."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import orjson
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from server.sessions.sessions import Branch, Made, Session, Task
from server.sessions.stored import Form, Found

NAMES = ("a", "b")


def board(n: int = 2) -> PromptLeaderboard:
    return PromptLeaderboard(
        PreferenceFamily.GRK,
        NAMES if n == len(NAMES) else tuple(f"model {k}" for k in range(n)),
        np.arange(n) / 3,
        0.25,
        expected_output_tokens=np.array([np.nan] * n),
    )


def branch(task: Task | None = None) -> Branch:
    session = Session(2**62 + 1, 5.0, ("b", "a"), 3, 7, 0.5, Decimal("2.5"))
    return Branch(session, "a", Decimal("0.0100"), task, 2, is_continued=True, mark=2**62 + 7)


def read(value: bytes, names: tuple[str, ...] = NAMES) -> Found | None:
    return Form(lambda: names).read(value, lambda session: session, 9.0)


FORM = Form(lambda: NAMES)


def test_what_is_written_is_read() -> None:
    found = read(FORM.of(Made(branch(Task(board(), is_marginal=True)), False)))
    assert found is not None
    assert found.branch is not None
    session, one = found.session, found.branch
    assert (session.seed, session.order, session.n_branches) == (2**62 + 1, ("b", "a"), 3)
    assert (session.used_s, session.n_requests, session.budget_share) == (9.0, 7, 0.5)
    assert session.given_usd == Decimal("2.5")
    assert (one.model, one.budget_usd, one.number) == ("a", Decimal("0.01"), 2)
    assert one.is_continued
    assert one.mark == 2**62 + 7
    assert one.task is not None
    assert one.task.board is not None
    assert one.task.is_marginal
    assert one.task.board.models == NAMES
    assert one.task.board.eta == 0.25
    np.testing.assert_array_equal(one.task.board.coefficients, board().coefficients)
    assert one.task.board.expected_output_tokens is not None
    assert np.isnan(one.task.board.expected_output_tokens).all()
    assert one.task.board.expected_scores is None


def test_a_session_alone_and_an_unsure_call() -> None:
    found = read(FORM.of(branch().session))
    assert found is not None
    assert found.branch is None
    for is_unsure in (False, True):
        made = read(FORM.of(Made(branch(), is_unsure)))
        assert made is not None
        assert made.is_unsure is is_unsure


def test_only_a_call_brings_its_task() -> None:
    found = read(FORM.of(branch(Task(board()))))
    assert found is not None
    assert found.branch is not None
    assert found.branch.task is None


def test_a_leaderboard_of_other_models_or_many_is_scored_again() -> None:
    value = FORM.of(Made(branch(Task(board())), False))
    other = read(value, ("a", "c"))
    assert other is not None
    assert other.branch is not None
    assert other.branch.task is None
    many = FORM.of(Made(branch(Task(board(2_000))), False))
    assert len(many) < 500


def test_a_newer_process_may_say_more_and_an_older_one_less() -> None:
    value = FORM.of(branch())
    said = orjson.loads(value[17:])
    said["branch"]["held"] = said["account"] = {"a": [1, 2]}
    more = read(value[:17] + orjson.dumps(said))
    assert more is not None
    assert more.branch is not None
    assert more.branch.model == "a"
    del said["branch"]["number"], said["branch"]["task"], said["session"]["n_branches"]
    less = read(value[:17] + orjson.dumps(said))
    assert less is not None
    assert less.branch is not None
    assert less.branch.number == 0


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"=",
        b"=0000000000000000",
        b"=0000000000000000[]",
        b'=0000000000000000{"v":2}',
        b'=0000000000000000{"v":1,"session":{"seed":"x"}}',
        b'=0000000000000000{"v":1,"session":{"seed":1},"branch":{}}',
        b'=zzzzzzzzzzzzzzzz{"v":1,"session":{"seed":1},"branch":{"model":"a"}}',
        b'=0000000000000000{"v":1,"session":{"seed":1},"branch":{"model":"a","budget_usd":"x"}}',
        b'=0000000000000000{"v":1,"session":{"seed":1},"branch":{"model":"a","task":{"names":1}}}',
        b"\xff" * 40,
    ],
)
def test_what_cannot_be_read_is_nothing(value: bytes) -> None:
    found = read(value)
    assert found is None or found.branch is None or found.branch.task is None
