"""Every fault of a provider ends as the contract promises; docs/faults.md says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_cases import CASES, Case
from fault_matrix import Matrix, Row, markdown, matrix, promised, promised_bill, run_all

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    with matrix(tmp_path_factory.mktemp("faults")) as started:
        yield started


def check(row: Row) -> None:
    at = f"{row.case.name}, {row.place}, stream={row.stream}, budget={row.budget}"
    assert row.outcome == promised(row.case, row.place, stream=row.stream), at
    assert row.billed == promised_bill(row.case, row.place, stream=row.stream), at


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_of_the_preferred_model(running: Matrix, case: Case, stream: bool) -> None:
    check(running.run(case, "first", stream=stream, budget="none"))


@pytest.mark.slow
def test_the_whole_matrix_and_its_document(tmp_path: Path) -> None:
    rows = run_all(tmp_path)
    for row in rows:
        check(row)
    assert DOCUMENT.read_text(encoding="utf-8") == markdown(rows), "run: make faults"
