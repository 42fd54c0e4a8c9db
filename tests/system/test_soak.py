"""A short soak; `make soak` goes on for half an hour."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from soak import run


@pytest.mark.slow
def test_nothing_is_lost_under_load_and_faults(tmp_path: Path) -> None:
    # three minutes in CI, where nobody waits for them
    soak = run(3.0 if os.environ.get("CI") else 0.3, tmp_path)
    assert soak.failures == []
    assert soak.outcomes["200"] + soak.outcomes["200 streamed"] > 0.9 * soak.outcomes.total()
    assert soak.rss_mb[-1] - soak.rss_mb[len(soak.rss_mb) // 4] < 20
