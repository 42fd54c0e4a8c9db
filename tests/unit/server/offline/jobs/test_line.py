from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from p2l_model.errors import DataError
from p2l_model.types import PreferenceFamily
from server.offline.jobs.line import JobRequest, RecordedBoard, parse_line, read_jobs

LINE: dict[str, Any] = {
    "version": 1,
    "session": "ab" * 16,
    "key": "cd" * 16,
    "began_s": 0,
    "at_s": 1.5,
    "model": "gpt-5",
    "input_tokens": 1_000,
    "output_tokens": 100,
    "tool_loop": False,
    "new_words": True,
    "scored": True,
    "cost_usd": "0.0125",
}


def parsed(**changes: Any) -> JobRequest:
    return parse_line(json.dumps({**LINE, **changes}).encode(), "jobs.jsonl: line 3")


def test_a_line_is_read_as_it_was_written() -> None:
    board = RecordedBoard(
        family=PreferenceFamily.BT,
        coefficients={"a": 1.0, "b": -0.5},
        output_tokens={"a": 200.0},
    )
    one = parsed(leaderboard=board.model_dump(), needs=["tools"], effort="low", branch=2)
    assert parse_line(one.line(), "") == one
    assert json.loads(one.line())["version"] == 1
    found = board.leaderboard()
    assert found.models == ("a", "b")
    assert found.expected_output_tokens is not None
    assert found.expected_output_tokens[0] == 200


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"input_tokens": -1}, "input_tokens: "),
        ({"input_tokens": "many"}, "input_tokens: "),
        ({"session": "Fix the bug"}, "session: "),
        ({"version": 2}, "version: only version 1"),
        ({"prompt": "canarytext"}, "prompt: "),
        ({"cached_tokens": 1_001}, "cached_tokens and the cache writes are parts"),
        ({"thinking_tokens": 101}, "thinking_tokens are a part"),
        ({"at_s": float("nan")}, "at_s: "),
        ({"cost_usd": "-1"}, "cost_usd: "),
        ({"effort": "canarytext"}, "effort: "),
        ({"leaderboard": {"family": "bt", "coefficients": {}}}, "leaderboard.coefficients: "),
    ],
)
def test_an_error_names_the_line_and_the_field(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError) as error:
        parsed(**changes)
    assert str(error.value).startswith(f"jobs.jsonl: line 3: {told}")
    assert "canarytext" not in str(error.value)


def test_a_missing_field_is_named() -> None:
    line = {name: value for name, value in LINE.items() if name != "tool_loop"}
    with pytest.raises(DataError, match="line 1: tool_loop: Field required"):
        parse_line(json.dumps(line).encode(), "line 1")


def test_a_line_that_is_not_json_is_told_without_its_text() -> None:
    with pytest.raises(DataError, match="line 1: Invalid JSON") as error:
        parse_line(b"canarytext", "line 1")
    assert "canarytext" not in str(error.value)


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(parsed().line() + b"\n\n" + parsed(at_s=2).line() + b"\n{}\n")
    seen: list[tuple[int, int]] = []
    found = read_jobs(path, lambda done, of: seen.append((done, of)))
    assert [next(found).at_s, next(found).at_s] == [1.5, 2]
    with pytest.raises(DataError, match=r"jobs.jsonl: line 4: session: "):
        next(found)
    assert seen[-1][0] < seen[-1][1] == path.stat().st_size


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.jsonl cannot be read: No such file"):
        list(read_jobs(tmp_path / "none.jsonl"))
