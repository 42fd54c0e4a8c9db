"""Files that anybody may have written: whatever is in them, each command that reads them says which
file and which row is wrong, and never shows a traceback."""

from __future__ import annotations

import io
import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from p2l_model.analysis.prompts import read_prompts as read_chunks
from p2l_model.data.files import load_votes
from p2l_model.errors import DataError
from server.cli import main
from server.commands.prompts import read_file, read_prompts
from server.offline.simulate.table import load_prices, load_scores
from server.offline.usage_export import read_export

VOTE = {"prompt": "hi", "model_a": "a", "model_b": "b", "winner": "model_a"}
SCORE = {"prompt": "hi", "model": "a", "score": 1}
BILL = {"id": "x", "day": "2026-01-01", "model": "m", "cost": 1}
PRICE = {"model": "m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
READERS: dict[str, tuple[dict[str, object], Callable[[Path], object]]] = {
    "train": (VOTE, lambda path: load_votes([path])),
    "scores": (SCORE, lambda path: load_votes([path])),
    "aggregate": ({"prompt": "hi"}, lambda path: list(read_chunks(str(path)))),
    "leaderboard": ({"prompt": "hi"}, lambda path: read_file(str(path))),
    "reconcile": (BILL, read_export),
    "simulate": (SCORE, lambda path: load_scores([path], {})),
    "prices": (PRICE, load_prices),
}
DEEP = "[" * 100_000
NO_OBJECTS = ("5", "null", "true", "[1]", "[[1]]", '"text"', "NaN", "9" * 5000, DEEP, "{", "\x00")
NO_PROMPTS: tuple[object, ...] = (
    5, True, None, {"a": 1}, [1], [[1]], [{"role": 5, "content": "x"}], [],
)  # fmt: skip
NO_VALUES: tuple[object, ...] = ([1], {"a": 1}, 10**400, "many", "\ud800", -1e300)
TABLES = (
    {"prompt": [5]}, {"prompt": [None]}, {"prompt": [True]}, {"prompt": [[1]]}, {"x": [1]},
    {"prompt": [b"x"]}, {"messages": [5]}, {"prompt": ["hi"], "weight": [b"x"]},
    {"prompt": [5], "model_a": [1], "model_b": [2], "winner": [3]},
    {"prompt": ["x"], "model": ["a"], "score": ["high"]},
)  # fmt: skip
CSVS = (
    b"", b"\n", b"prompt\n[5]\n", b"prompt\n" + DEEP.encode(), b"prompt\n[" + b"9" * 5000 + b"]\n",
    b"prompt\n\x00\n", b'prompt\n"open\n', b"prompt,weight\nhi,abc\n", b"5\n5\n", b"\xff\xfep\x00",
    b"prompt,model_a,model_b,winner\nhi,a,b\n", b"prompt\r\rhi\r",
    b"day,model,cost\n2026-01-01,m\n", b"day,model,cost\n" + b"9" * 400 + b",m,1\n",
    b"model,score,prompt\na,1e999,x\n",
)  # fmt: skip


def complaint(read: Callable[[Path], object], path: Path) -> str | None:
    """What is said of the file; None where it can be read. Whatever else is raised is a fault."""
    try:
        read(path)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("line", NO_OBJECTS, ids=lambda line: line[:8])
@pytest.mark.parametrize("name", READERS)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, name: str, line: str) -> None:
    good, read = READERS[name]
    path = tmp_path / "rows.jsonl"
    for content in (f"{json.dumps(good)}\n{line}\n", f"{line}\n{json.dumps(good)}"):
        path.write_text(content)
        said = complaint(read, path)
        number = 2 if content.startswith(json.dumps(good)) else 1
        assert said is not None
        assert f"row {number}" in said or f"rows.jsonl:{number}" in said, said


@pytest.mark.parametrize("name", READERS)
def test_a_value_of_another_kind_is_named(tmp_path: Path, name: str) -> None:
    good, read = READERS[name]
    path = tmp_path / "rows.jsonl"
    for column in (*good, "weight", "messages", "output_tokens", "p_model_a", "category"):
        for value in (*NO_VALUES, *NO_PROMPTS):
            path.write_text(f"{json.dumps(good)}\n{json.dumps(good | {column: value})}\n")
            complaint(read, path)
    for value in NO_PROMPTS if "prompt" in good else ():
        path.write_text(f"{json.dumps(good)}\n{json.dumps(good | {'prompt': value})}\n")
        assert "row 2" in str(complaint(read, path))


@pytest.mark.parametrize("name", READERS)
def test_tables_and_lists_of_anything_are_refused_in_words(tmp_path: Path, name: str) -> None:
    read = READERS[name][1]
    for number, table in enumerate(TABLES):
        path = tmp_path / f"{number}.parquet"
        pyarrow.parquet.write_table(pyarrow.table(table), path)
        complaint(read, path)
    for number, content in enumerate(CSVS):
        for ending in ("csv", "jsonl", "parquet", "txt"):
            path = tmp_path / f"{number}.{ending}"
            path.write_bytes(content)
            complaint(read, path)


def test_a_long_prompt_in_a_csv_is_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(f"prompt\n{'x' * 200_000}\n")
    (chunk,) = read_chunks(str(path))
    assert len(chunk.conversations[0].turns[0]) == 200_000


@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"prompt": "x"}\n5', b'{"prompt": "x"}\nplain'])
def test_standard_input_is_read_as_strictly(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    def given() -> io.TextIOWrapper:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")

    for read in (
        lambda: list(read_chunks("-")),
        lambda: read_prompts(Namespace(prompt="-", file=None)),
    ):
        monkeypatch.setattr(sys, "stdin", given())
        with pytest.raises(DataError, match="standard input"):
            read()


def test_text_that_only_looks_like_json_is_one_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    for text in ("5", "{ a }\nwhat is wrong with this?", '{"a": 1}\nexplain', "[1, 2]"):
        path.write_text(text)
        assert read_file(str(path)) == [[{"role": "user", "content": text}]]


@pytest.mark.parametrize(
    "attempts", [5, [5], [None], [[1]], "x", {"a": 1}, [{"decision": 5}], [{"decision": None}]]
)
def test_a_receipt_of_nonsense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], attempts: object
) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps({"object": "receipt", "version": 1, "attempts": attempts}))
    assert main(["replay", str(path)]) == 2
    assert "receipt" in capsys.readouterr().err
