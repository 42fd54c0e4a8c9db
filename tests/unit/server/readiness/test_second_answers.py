"""A share of second answers that lacks what it needs is noticed."""

from __future__ import annotations

import pytest

from server.config.file import parse_settings
from server.readiness.second_answers import second_answers

MODEL = """
providers: {p: {kind: sandbox}}
models: {m: {provider: p}}
"""


@pytest.mark.parametrize(
    ("learning", "words"),
    [
        ("share: 0", []),
        ("share: 0.1, judge: m, usd_per_day: 1", []),
        ("share: 0.1, usd_per_day: 1", ["learning.judge"]),
        ("share: 0.1, judge: m", ["learning.usd_per_day"]),
        ("share: 0.1", ["learning.judge", "learning.usd_per_day"]),
    ],
)
def test_what_is_missing_is_named(learning: str, words: list[str]) -> None:
    said = "".join(second_answers(parse_settings(f"{MODEL}learning: {{{learning}}}")))
    assert (said == "") == (words == [])
    assert [w for w in ("learning.judge", "learning.usd_per_day") if w in said] == words
