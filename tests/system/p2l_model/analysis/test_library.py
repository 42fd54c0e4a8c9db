"""The library: its documented examples run, and asking for nothing imports nothing."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest

import p2l_model
from p2l_model import Predictor
from p2l_model.analysis import predictor
from p2l_model.errors import DataError


@pytest.mark.slow
def test_the_examples_run() -> None:
    found = doctest.testmod(predictor)
    assert found.attempted > 8
    assert found.failed == 0


def test_importing_it_is_light() -> None:
    script = "import p2l_model, sys; print([m for m in ('numpy', 'torch') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_name_is_there() -> None:
    for name in p2l_model.__all__:
        assert getattr(p2l_model, name).__name__ == name
    with pytest.raises(AttributeError, match="Nothing"):
        p2l_model.Nothing  # noqa: B018


def test_no_prompts_are_an_error() -> None:
    with Predictor.load() as p2l, pytest.raises(DataError, match="no prompts"):
        p2l.aggregate([])


def test_copies_weigh_as_often_as_they_come() -> None:
    with Predictor.load() as p2l:
        twice = p2l.aggregate(["Hi", "Hi", "What is 2 + 2?"], n_resamples=0)
        once = p2l.aggregate(["Hi", "What is 2 + 2?"], n_resamples=0)
    assert twice.rows[0].coefficient != once.rows[0].coefficient
