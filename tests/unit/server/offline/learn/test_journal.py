"""A run goes on from its journal, wherever it was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2l_model.errors import DataError
from server.offline.learn.journal import Journal, Want

FIRST, SECOND = Want("p1", "dear"), Want("p1", "judge", "dear", first=False)


def test_a_journal_is_read_again_from_any_place_where_it_was_cut(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.ask(FIRST, "req-1")
        journal.answer(FIRST, {"text": "Grüße\n\ud800", "cost_usd": "0.1"})
        journal.grade(FIRST, 0.5)
        journal.ask(SECOND, "req-2")
        journal.lose(SECOND, "req-2")
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    for length in range(0, len(whole) + 1, 3):
        path.write_bytes(whole[:length])
        n_lines = whole[:length].count(b"\n")
        with Journal(tmp_path) as journal:
            assert (FIRST in journal.done) == (n_lines >= 2)
            assert journal.asked == {1: {FIRST: "req-1"}, 4: {SECOND: "req-2"}}.get(n_lines, {})
            assert (FIRST in journal.grades) == (n_lines >= 3)
            assert (SECOND in journal.done) == (n_lines >= 5)
        assert path.read_bytes().count(b"\n") == n_lines
    assert journal.done[FIRST]["text"] == "Grüße\n\ud800"


def test_a_call_that_was_free_may_be_made_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.ask(FIRST, "req-1")
        journal.free(FIRST)
    with Journal(tmp_path) as journal:
        assert journal.asked == journal.done == {}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(DataError, match="another process"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_damage_within_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("{}{\n{}\n")
    with pytest.raises(DataError, match="line 1 is damaged"):
        Journal(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be used"):
        Journal(tmp_path / "file" / "out")
