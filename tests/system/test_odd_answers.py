"""Any value may stand anywhere in what a provider answers. Whatever it is, the gateway passes it
on, translates it, leaves it out or says that the provider has failed; it books the attempt once,
holds nothing back, and has no fault of its own.

`fuzz/fuzz_answers.py` tries every value at every place.
"""

from __future__ import annotations

from itertools import islice

import pytest
from odd_answers import Case, bases, cases, faults_in

# Coprime with the number of values for a place, so that each value comes to many places.
FEW = 503
SOME = 13


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_answers_are_good_as_they_are() -> None:
    good = [Case(base, (), None) for base in bases()]
    assert await faults_in(good, by_sdks=False) == []


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_odd_value_in_an_answer_is_no_fault_of_ours() -> None:
    assert await faults_in(islice(cases(), 0, None, FEW), by_sdks=False) == []


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_odd_value_in_an_answer_of_the_other_form_is_no_fault_of_ours() -> None:
    assert await faults_in(islice(cases(crossed=True), 0, None, FEW), by_sdks=False) == []


@pytest.mark.anyio
@pytest.mark.slow
async def test_odd_values_are_translated_or_left_out() -> None:
    assert await faults_in(islice(cases(), 0, None, SOME), by_sdks=True) == []
