"""The journal of a run: what was asked, what came of it. A run that was killed goes on from it.

Each line is written before the next step is taken: a question before it is sent, an answer before
it counts. A last line that was cut off by a kill is dropped. As with the ledger, a power cut may
take the last moments: their calls would be made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from p2l_model.errors import DataError

PLAN: Final = "plan.json"
_NAME: Final = "journal.jsonl"
_LOCK: Final = "lock"


class Want(NamedTuple):
    """What is bought with one call: the answer of a model to a prompt, or (subject: a model whose
    answer is judged) the judge's verdict on it. first: whether the judged answer is shown first."""

    prompt: str
    model: str
    subject: str | None = None
    first: bool = True

    @property
    def is_answer(self) -> bool:
        """Whether it is an answer, and not a verdict."""
        return self.subject is None


class Journal:
    """The journal in a folder, which is made if need be and is readable by its owner only.

    done: what came of each call: the line of its answer, or of a loss. asked: the id of the request
    of each call of which nothing more is known. grades: the scores that checkers gave. Raises
    DataError where the folder cannot be used, or where another process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: dict[Want, Mapping[str, Any]] = {}
        self.asked: dict[Want, str] = {}
        self.grades: dict[Want, float] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            _lock(self._lock, folder)
            self._read()
            self._out = os.open(folder / _NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise DataError(f"--out: {folder} cannot be used: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files; the folder may then be used by another process."""
        os.fsync(self._out)
        os.close(self._out)
        os.close(self._lock)

    def ask(self, want: Want, request_id: str) -> None:
        """Notes a call that is about to be sent."""
        self._write({"do": "ask", **want._asdict(), "request_id": request_id})
        self.asked[want] = request_id

    def answer(self, want: Want, what: Mapping[str, Any]) -> None:
        """Notes what a call has brought."""
        line = {"do": "answer", **want._asdict(), **what}
        self._write(line)
        self._take(want, line)

    def lose(self, want: Want, request_id: str) -> None:
        """Notes a call that may have been paid and whose answer is lost: it is not made again."""
        line = {"do": "lose", **want._asdict(), "request_id": request_id}
        self._write(line)
        self._take(want, line)

    def free(self, want: Want) -> None:
        """Notes a call that has cost nothing and may be made again."""
        self._write({"do": "free", **want._asdict()})
        self.asked.pop(want, None)

    def grade(self, want: Want, score: float) -> None:
        """Notes what a checker says of an answer."""
        self._write({"do": "grade", **want._asdict(), "score": score})
        self.grades[want] = score

    def plan(self) -> dict[str, Any] | None:
        """The plan of the run in this folder; None where there is none yet. Raises DataError."""
        path = self.folder / PLAN
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: give another folder with --out") from error
        return found

    def keep_plan(self, plan: Mapping[str, Any]) -> None:
        """Stores the plan."""
        write_whole(self.folder / PLAN, json.dumps(plan, indent=1, ensure_ascii=False) + "\n")

    def _take(self, want: Want, line: Mapping[str, Any]) -> None:
        self.asked.pop(want, None)
        self.done[want] = line

    def _write(self, line: Mapping[str, Any]) -> None:
        data = json_line(line).encode()
        while data:
            data = data[os.write(self._out, data) :]

    def _read(self) -> None:
        path = self.folder / _NAME
        if not path.exists():
            return
        _drop_torn_line(path)
        for line in _lines(path):
            want = Want(line["prompt"], line["model"], line["subject"], line["first"])
            if line["do"] == "ask":
                self.asked[want] = line["request_id"]
            elif line["do"] == "free":
                self.asked.pop(want, None)
            elif line["do"] == "grade":
                self.grades[want] = line["score"]
            else:
                self._take(want, line)


def json_line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON, readable where that is possible: half of a surrogate pair can only
    be written as an escape."""
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(row)
    return f"{text}\n"


def write_whole(path: Path, text: str) -> None:
    """Writes a file in one step: another process sees the old one or the new one. Raises
    DataError."""
    beside = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def _lock(descriptor: int, folder: Path) -> None:
    """The lock ends with the process, however it ends."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise DataError(f"--out: another process is writing to {folder}: wait for it") from error


def _drop_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}: line {number} is damaged: give another --out") from error
