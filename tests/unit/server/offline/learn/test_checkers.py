"""Answers are checked by what they say."""

from __future__ import annotations

import pytest

from p2l_model.errors import DataError
from server.offline.learn.checkers import Checker, check_schema, fits_schema, is_expected
from server.offline.learn.command_check import CommandCheck, Limits
from server.offline.learn.tasks import Check


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("42", "42"),
        ("We add them up. 40 and 2 is 42.", "42"),
        ("The answer is 42, since 6 * 7 = 42.0 (see line 3).", "42"),
        (r"So \boxed{1,024} bytes, in 3 parts", "1024"),
        ("The total is $1,234.50.", "1234.5"),
        ("x = -3", "-3"),
        ("x = \u22123", "-3"),
        ("About 6.02e23.", "6.02e23"),
        ("paris", "Paris"),
        ("The Paris.", "paris"),
        ("I think so.\nAnswer: **Paris**", "Paris"),
        ("(B)", "b"),
        ("Long reasoning.\n\nFinal answer: B.", "B"),
    ],
)
def test_expected_values_are_found(answer: str, expected: str) -> None:
    assert is_expected(answer, [expected])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("42 is wrong, it is 41", "42"),
        ("142", "42"),
        ("4.2", "42"),
        ("Paris is in France", "France is in Paris"),
        ("not Paris", "Paris"),
        ("", "42"),
        ("", "Paris"),
        ("A or B", "B"),
        ("Answer: 41. It is not 42", "42"),
    ],
)
def test_other_values_are_not(answer: str, expected: str) -> None:
    assert not is_expected(answer, [expected])


def test_tolerance_is_a_difference() -> None:
    assert is_expected("3.15", ["3.14"], 0.02)
    assert not is_expected("3.17", ["3.14"], 0.02)
    assert not is_expected("3.15", ["3.14"])
    assert is_expected("3.14", ["3.14"], 0.0)


def test_any_accepted_value_will_do() -> None:
    assert is_expected("Blue", ["red", "blue"])


def test_a_pattern_may_stand_anywhere() -> None:
    checker = Checker()
    assert checker.score(Check("regex", r"\bprime\b"), "7 is prime.") == 1.0
    assert checker.score(Check("regex", r"^prime$"), "7 is prime.") == 0.0


def test_schemas() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    assert fits_schema('{"a": 1}', schema)
    assert fits_schema('Here it is:\n```json\n{"a": 1}\n```', schema)
    assert not fits_schema('{"a": "1"}', schema)
    assert not fits_schema("no JSON", schema)
    check_schema(schema)
    with pytest.raises(DataError, match="not a JSON schema"):
        check_schema({"type": "nonsense"})


def score(command: object, answer: str = "", limits: Limits | None = None) -> float:
    return CommandCheck(limits).score(command, answer)


def test_a_command_reads_the_answer_and_its_status_counts() -> None:
    assert score("grep -q prime", "7 is prime") == 1.0
    assert score("grep -q prime", "7 is odd") == 0.0


def test_a_command_may_print_a_score() -> None:
    assert score(["sh", "-c", "cat; echo; echo 0.25"], "0.9") == 0.25
    assert score(["sh", "-c", "echo 0.25; exit 3"]) == 0.0
    assert score(["sh", "-c", "echo 7"]) == 1.0  # not a score


def test_a_command_sees_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    assert score(["sh", "-c", "! env | grep -q canary-key"]) == 1.0
    assert score(["sh", "-c", 'test "$(ls -A)" = "" && touch mine']) == 1.0
    assert score(["sh", "-c", "test ! -e mine"]) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "while :; do :; done",
        "sleep 60 & sleep 60",
        "head -c 9000000 /dev/zero > big",
        "x=$(head -c 900000000 /dev/zero | tr '\\0' a)",
    ],
    ids=["cpu", "time", "file", "memory"],
)
def test_a_command_is_stopped_at_its_limits(script: str) -> None:
    limits = Limits(wall_s=1.5, cpu_s=1, memory_bytes=200_000_000, file_bytes=1_000_000)
    assert score(["sh", "-c", script], limits=limits) == 0.0


def test_a_command_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(DataError, match="no program no-such-program"):
        score("no-such-program --x")
    with pytest.raises(DataError, match="command must be"):
        score("")
    with pytest.raises(DataError, match="command"):
        score("'open quote")
