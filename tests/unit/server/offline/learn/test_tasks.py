"""Prompts are read in every form, with what their answers are checked by."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from p2l_model.analysis.prompts import read_rows
from p2l_model.errors import DataError
from server.offline.learn.tasks import CheckerKind, Tasks, read_tasks


def tasks(*rows: dict[str, Any], checker: CheckerKind | None = None) -> Tasks:
    return read_tasks(enumerate(rows, 1), "some.jsonl", checker)


def test_forms_of_a_prompt() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    found = tasks(
        {"prompt": "Hi there"}, {"prompt": ["one", "two"]}, {"prompt": messages},
        {"messages": [*messages, {"role": "assistant", "content": "Yes?"},
                      {"role": "user", "content": "Bye"}]},
    ).tasks  # fmt: skip
    assert [one.turns for one in found] == [("Hi there",), ("one", "two"), ("Hi",), ("Hi", "Bye")]
    assert [len(one.messages) for one in found] == [1, 2, 2, 4]
    assert found[2].messages[0]["role"] == "system"
    assert len({one.id for one in found}) == 4


def test_empty_fields_of_parquet_are_no_fields() -> None:
    said = {"role": "user", "content": "Hi"}
    (found,) = tasks({"messages": [{**said, "name": None, "tool_calls": None}]}).tasks
    assert found.messages == (said,)
    assert found.id == tasks({"prompt": "Hi"}).tasks[0].id


def test_forms_of_a_file(tmp_path: Path) -> None:
    said = ["What is 2 + 2?", "Name a prime."]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([["prompt", "expected"], [said[0], "4"], [said[1], "7"]])
    chats = [{"role": "user", "content": said[0]}]
    texts = {
        "a.jsonl": "\n".join(json.dumps({"prompt": one}) for one in said),
        "b.txt": "\n".join(said),
        "c.csv": out.getvalue(),
        "d.jsonl": json.dumps({"messages": chats}) + "\n" + json.dumps({"prompt": said[1]}),
    }
    ids = set()
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with read_rows(str(tmp_path / name)) as rows:
            found = read_tasks(rows, name, None).tasks
        assert [one.turns for one in found] == [(one,) for one in said]
        ids.add(tuple(one.id for one in found))
    assert len(ids) == 1
    with read_rows(str(tmp_path / "c.csv")) as rows:
        checks = [one.check for one in read_tasks(rows, "c.csv", "expected").tasks]
    assert [check.value for check in checks if check] == [["4"], ["7"]]


def test_copies_are_one_prompt_and_tool_loops_are_left_out() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    found = tasks(
        {"prompt": "Hi"}, {"prompt": "Hi"},
        {"messages": [{"role": "user", "content": "Hi"}, call, {"role": "tool", "content": "x"}]},
    )  # fmt: skip
    assert len(found.tasks) == 1
    assert found.n_left_out == 1


def test_what_a_row_is_checked_by() -> None:
    rows = [{"prompt": "a", "expected": 4}, {"prompt": "b", "regex": "^x"}, {"prompt": "c"},
            {"prompt": "d", "json_schema": '{"type": "object"}'},
            {"prompt": "e", "command": "true"}]  # fmt: skip
    checks = [one.check for one in tasks(*rows).tasks]
    assert [None if one is None else one.kind for one in checks] == [
        "expected", "regex", None, "json_schema", None,
    ]  # fmt: skip
    (command,) = tasks(rows[4], checker="command").tasks
    assert command.check is not None
    assert command.check.kind == "command"


@pytest.mark.parametrize(
    ("row", "checker", "told"),
    [
        ({"prompt": "a"}, "expected", "row 1: the column expected is missing"),
        ({"prompt": "a", "regex": "("}, None, "row 1: regex is not a regular"),
        ({"prompt": "a", "json_schema": "{"}, None, "row 1: json_schema is not JSON"),
        ({"prompt": "a", "json_schema": "[]"}, None, "row 1: json_schema must be an object"),
        ({"prompt": "a", "expected": {}}, None, "row 1: expected must be"),
        ({"prompt": "a", "expected": 1, "tolerance": -1}, None, "row 1: tolerance must be"),
        ({"prompt": "a", "reference": 3}, None, "row 1: reference must be"),
        ({"prompt": ""}, None, "row 1: prompt must be"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, None, "no text of a user"),
    ],
)
def test_faults_name_the_row(row: dict[str, Any], checker: CheckerKind | None, told: str) -> None:
    with pytest.raises(DataError, match=told):
        tasks(row, checker=checker)


def test_texts_are_not_shown() -> None:
    (one,) = tasks(
        {"prompt": "canary-prompt", "reference": "canary-b", "expected": "canary-c"}
    ).tasks
    assert "canary" not in repr(one)
