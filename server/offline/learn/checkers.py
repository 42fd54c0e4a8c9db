"""Checks answers without a model: against an expected value, a pattern, a schema or a program."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

from p2l_model.errors import DataError, ExtraMissingError
from server.offline.learn.command_check import CommandCheck
from server.offline.learn.tasks import Check

_FENCE: Final = re.compile(r"```(?:\w+)?\s*\n(.*?)```", re.S)
_NUMBER: Final = re.compile(
    r"(?<![\w.])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d)\.?)(?:[eE][-+]?\d+)?"
)
_PLAIN_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_BOXED: Final = re.compile(r"\\boxed\{([^{}]*)\}")
_SAID: Final = re.compile(r"(?:final answer|answer)\s*(?:is|:|=)+\s*(.+)", re.I)
_EDGES: Final = re.compile(r"^[\s\W_]+|[\s\W_]+$")
_ARTICLE: Final = re.compile(r"^(?:the|a|an)\s+", re.I)
_SPACE: Final = re.compile(r"\s+")
# The relative difference of two numbers that are equal but for how they were computed or printed.
_ROUNDING: Final = 1e-6


class Checker:
    """Checks the answers of one run. command: runs the programs of `command` checks; None where
    there are none."""

    def __init__(self, command: CommandCheck | None = None) -> None:
        self._command = command

    @property
    def n_stopped(self) -> int:
        """How many programs were stopped at a limit so far."""
        return 0 if self._command is None else self._command.n_stopped

    def score(self, check: Check, answer: str) -> float:
        """The score of an answer in [0, 1]. Blocks while a program runs. Raises DataError where
        the program cannot be started, ExtraMissingError."""
        if check.kind == "expected":
            return float(is_expected(answer, check.value, check.tolerance))
        if check.kind == "regex":
            return float(re.search(check.value, answer) is not None)
        if check.kind == "json_schema":
            return float(fits_schema(answer, check.value))
        if self._command is None:
            raise TypeError("a command check needs a CommandCheck")
        return self._command.score(check.value, answer)


def is_expected(answer: str, accepted: list[str], tolerance: float | None = None) -> bool:
    """Whether an answer gives one of the accepted values.

    A number is compared with the first one that is boxed or follows "answer:", else with the last
    one. A text is compared, after normalising, with the whole answer, its last line, what is boxed
    and what follows "answer:".
    tolerance: the allowed difference of numbers; None: a millionth of the expected number.
    """
    return any(_gives(answer, value, tolerance) for value in accepted)


def _gives(answer: str, value: str, tolerance: float | None) -> bool:
    wanted = _as_number(value)
    if wanted is not None:
        return any(_is_near(found, wanted, tolerance) for found in _final_numbers(answer))
    goal = normalised(value)
    return any(normalised(said) == goal for said in _candidates(answer))


def _as_number(text: str) -> float | None:
    plain = text.strip().replace(",", "").replace("\u2212", "-").rstrip("%").lstrip("$")
    return float(plain) if _PLAIN_NUMBER.fullmatch(plain) else None


def _final_numbers(answer: str) -> Iterator[float]:
    """The first number of each part that is marked as the answer; without such a part, the last
    number of all."""
    marked = [numbers for said in _marked(answer) if (numbers := _numbers(said))]
    if marked:
        yield from (numbers[0] for numbers in marked)
    else:
        yield from _numbers(answer)[-1:]


def _numbers(text: str) -> list[float]:
    found = [one for one in _NUMBER.findall(text) if any(map(str.isdigit, one))]
    return [float(one.replace(",", "").replace("\u2212", "-")) for one in found]


def _is_near(found: float, wanted: float, tolerance: float | None) -> bool:
    if tolerance is not None:
        return abs(found - wanted) <= tolerance
    return math.isclose(found, wanted, rel_tol=_ROUNDING, abs_tol=1e-12)


def _candidates(answer: str) -> Iterator[str]:
    yield answer
    lines = [line for line in answer.splitlines() if line.strip()]
    if lines:
        yield lines[-1]
    yield from _marked(answer)


def _marked(answer: str) -> Iterator[str]:
    """The parts of an answer that it marks as its result, the last of each kind."""
    for pattern in (_BOXED, _SAID):
        found = pattern.findall(answer)
        if found:
            yield found[-1]


def normalised(text: str) -> str:
    """A text without case, accents of spelling, outer punctuation, articles and double spaces."""
    same = unicodedata.normalize("NFKC", text).casefold()
    return _SPACE.sub(" ", _ARTICLE.sub("", _EDGES.sub("", same)))


def fits_schema(answer: str, schema: Any) -> bool:
    """Whether the answer is JSON that fits the schema; a fence of Markdown around it is ignored."""
    from jsonschema import ValidationError, validate

    fenced = _FENCE.search(answer)
    try:
        validate(json.loads(answer if fenced is None else fenced[1]), schema)
    except (ValueError, RecursionError, ValidationError):
        return False
    return True


def check_schema(schema: Any) -> None:
    """Checks that it is a JSON schema. Raises DataError, ExtraMissingError."""
    try:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
    except ImportError as error:
        raise ExtraMissingError("jsonschema", "learn") from error
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise DataError(f"json_schema is not a JSON schema: {error.message[:200]}") from error
