"""Which characters of a long conversation are read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l_model.checkpoint.ends import CHARS_PER_TOKEN, both_ends

MAX_TOKENS = 8
ROOM = MAX_TOKENS * CHARS_PER_TOKEN


@pytest.mark.parametrize("text", ["", "Hello.", "x" * ROOM])
def test_what_fits_is_one_part(text: str) -> None:
    assert both_ends((text,), MAX_TOKENS) == (text,)


def test_turns_are_lines() -> None:
    assert both_ends((" One. ", "Two."), MAX_TOKENS) == ("One.\nTwo.",)


def test_the_middle_is_left_out_between_two_words() -> None:
    first, last = both_ends(("Sort this list now: " + "apple " * 50 + "thank you",), MAX_TOKENS)
    assert first == "Sort this list"
    assert last == "apple thank you"


def test_a_question_after_a_long_text_is_read() -> None:
    first, last = both_ends(("A book. " * 1000, "Who did it?"), MAX_TOKENS)
    assert first.startswith("A book.")
    assert last.endswith("Who did it?")


def test_where_the_cut_is_between_two_turns_the_end_is_kept() -> None:
    for room in range(ROOM - 3, ROOM + 4):
        parts = both_ends(("x" * room, "Who did it?"), MAX_TOKENS)
        assert parts[-1].endswith("Who did it?")


def test_a_text_without_blanks_is_cut_anywhere() -> None:
    assert both_ends(("秋" * 100,), MAX_TOKENS) == ("秋" * (ROOM // 2),) * 2


@pytest.mark.parametrize("blank", [" ", "\n", "\u3000"])
def test_blanks_around_a_turn_push_nothing_out(blank: str) -> None:
    assert both_ends((blank * 1000 + "hello" + blank * 1000,), MAX_TOKENS) == ("hello",)


@given(st.lists(st.text(max_size=80), max_size=6))
def test_no_more_is_read_than_there_is_room_for(turns: list[str]) -> None:
    parts = both_ends(turns, MAX_TOKENS)
    assert sum(map(len, parts)) <= ROOM
    assert all(part in "\n".join(turn.strip() for turn in turns) for part in parts)


class Counting(Sequence[str]):
    """Turns that are all alike, and how many of them were read."""

    def __init__(self, n_turns: int) -> None:
        self.n_turns = n_turns
        self.n_read = 0

    def __len__(self) -> int:
        return self.n_turns

    def __getitem__(self, at: Any) -> Any:
        if not 0 <= at < self.n_turns:
            raise IndexError
        self.n_read += 1
        return "hi"


def test_of_many_turns_few_are_read() -> None:
    turns = Counting(500_000)
    assert len(both_ends(turns, MAX_TOKENS)) == 2
    assert 0 < turns.n_read <= 2 * ROOM


def test_megabytes_are_not_copied() -> None:
    text = "word " * 2_000_000
    tracemalloc.start()
    try:
        both_ends((text,), MAX_TOKENS)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * len(text), "without the blanks at its ends it is copied once for each end"
