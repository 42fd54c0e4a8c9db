"""How many further requests a job is expected to have, learnt from jobs."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from server.sessions.job_lengths import JobLengths


def learnt(draw: Callable[[random.Random], int], n_jobs: int, caller: str = "me") -> JobLengths:
    lengths, chance = JobLengths(), random.Random(5)
    for _ in range(n_jobs):
        for number in range(1, draw(chance) + 1):
            lengths.requested(caller, number)
    return lengths


@given(st.integers(1, 10**6))
def test_one_is_expected_before_anything_is_known(number: int) -> None:
    assert JobLengths().further("me", number) == 1.0


def test_single_requests_expect_none() -> None:
    lengths = learnt(lambda _: 1, 2_000)
    assert lengths.further("me", 1) < 0.02
    assert lengths.further("you", 1) < 0.02, "others start from what all jobs are like"


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 19])
def test_jobs_of_one_length_count_down(number: int) -> None:
    """Within a range of numbers the chance to go on is the same, so that it is a mean."""
    lengths = learnt(lambda _: 20, 2_000)
    assert lengths.further("me", number) == pytest.approx(20 - number, abs=5.0)


@pytest.mark.slow
def test_the_longer_a_job_has_run_the_longer_it_will_where_jobs_are_so() -> None:
    """Half of the jobs are one request, the rest a hundred in the mean."""
    lengths = learnt(
        lambda chance: 1 if chance.random() < 0.5 else 2 + int(chance.expovariate(1 / 100)), 3_000
    )
    assert lengths.further("me", 1) == pytest.approx(50, rel=0.15)
    assert lengths.further("me", 2) == pytest.approx(100, rel=0.15)
    assert lengths.further("me", 100) == pytest.approx(100, rel=0.15)


def test_a_caller_has_lengths_of_its_own() -> None:
    lengths = JobLengths()
    for _ in range(1_000):
        lengths.requested("short", 1)
        for number in range(1, 31):
            lengths.requested("long", number)
    assert lengths.further("short", 1) < 0.5
    assert lengths.further("long", 1) == pytest.approx(29, rel=0.2)


def test_jobs_of_today_count_more_than_those_of_last_year() -> None:
    lengths = learnt(lambda _: 1, 20_000)
    for _ in range(5_000):
        for number in range(1, 4):
            lengths.requested("me", number)
    assert lengths.further("me", 1) == pytest.approx(2, rel=0.15)


def test_memory_is_bounded() -> None:
    lengths = JobLengths()
    for k in range(3_000):
        lengths.requested(f"caller {k}", 1)
    assert len(lengths._own) == 1_000


@given(st.lists(st.integers(1, 3_000), max_size=300), st.integers(1, 5_000))
@settings(max_examples=examples(100), deadline=None)
def test_it_is_a_number_whatever_is_counted(numbers: list[int], number: int) -> None:
    """Sessions that are forgotten and found again have gaps in their numbers."""
    lengths = JobLengths()
    for one in numbers:
        lengths.requested("me", one)
    assert 0.0 <= lengths.further("me", number) <= 1_000.0
