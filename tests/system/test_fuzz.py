"""A bounded round of fuzzing; `make fuzz` goes on for longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_gateway import run


@pytest.mark.slow
def test_no_request_makes_a_500_or_a_hang(tmp_path: Path) -> None:
    report, said = run(3000, 7, tmp_path)
    assert report.failures == []
    assert report.statuses[200] > 300, "the fuzzer should not have lost the way to good requests"
    assert "internal error" not in said
