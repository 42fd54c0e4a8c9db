"""Which characters of a long conversation are read."""

from __future__ import annotations

import time

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


def test_megabytes_take_little_time() -> None:
    start = time.perf_counter()
    both_ends(("word " * 2_000_000,), MAX_TOKENS)
    both_ends(("hi",) * 500_000, MAX_TOKENS)
    assert time.perf_counter() - start < 1.0
