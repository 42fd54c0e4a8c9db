"""Any value may stand anywhere in a request. It is answered, or refused with the name of the field;
it is no fault of ours, whichever API its model has."""

from __future__ import annotations

from itertools import islice

import pytest
from odd_requests import Asked, asked, faults_in_requests, pairs

# Coprime with the number of values for a place, so that each value comes to many places.
FEW = 101
SOME = 3


@pytest.mark.anyio
async def test_the_requests_are_answered_as_they_are() -> None:
    good = [Asked(surface, provider, (), None) for surface, provider in pairs()]
    assert await faults_in_requests(good) == []


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_odd_value_in_a_request_is_no_fault_of_ours() -> None:
    assert await faults_in_requests(islice(asked(), 0, None, FEW)) == []


@pytest.mark.anyio
@pytest.mark.slow
async def test_odd_values_are_refused_by_name_or_answered() -> None:
    assert await faults_in_requests(islice(asked(), 0, None, SOME)) == []
