"""Random sessions, their requests at once, given up, and over new processes: none is overspent."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_sessions import Player


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_none_costs_more_than_its_budget(tmp_path: Path, seed: int) -> None:
    found = await Player(f"{tmp_path}/p2l.db", seed).play(150, each=50)
    assert found.over == []
    assert found.answered > 100
    assert found.refused > 20
