"""Estimates how much models write, including thoughts: at first from what is known about their
thinking, later from this gateway's own answers.

A checkpoint predicts the length of the visible answer. A model's thoughts are billed as well, and
the prompt's leaderboard does not include them. For a model that thinks, the true length is taken to
be, per model and effort, the expected length times a log-normal factor. The factor's mean and
variance are shrunk towards 1 and towards a usual spread, as if some answers of that kind had
already been seen. The same holds for a model without a column of its own: its predicted length is
that of a relative.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from server.model_facts import EFFORTS, Effort, ModelFacts
from server.process.background import Background, Job, in_thread
from server.storage.database import Database
from server.storage.rows import micros
from server.storage.statements import Kind
from server.storage.states import read_state
from server.storage.store import Store

_NAME: Final = "output lengths"
# Tokens of thoughts. Over 30 models that were asked at their default effort, the median of the
# models' means is about 1,200 (20 suites of assistant and tool tasks, August 2026). The other
# efforts are derived from it by halving and doubling.
_DEFAULT_THOUGHTS: Final = 1_200.0
_THOUGHTS: Final[Mapping[Effort, float]] = {
    "none": 0.0,
    "minimal": 150.0,
    "low": 400.0,
    "medium": 1_200.0,
    "high": 2_400.0,
    "xhigh": 4_800.0,
    "max": 9_600.0,
}
# The prior knowledge, and the usual spread of lengths, weigh as much as this many answers.
_PRIOR_ANSWERS: Final = 8.0
_PRIOR_VARIANCE: Final = 0.25
# One answer can be an accident, or an attempt to manipulate the estimate.
_LEAST_RATIO: Final = 0.02
_MOST_RATIO: Final = 50.0
# Old answers lose weight over time: in effect, about this many of the latest count.
_MEMORY: Final = 500.0
_REFRESHED_EVERY: Final = 16
# One caller's requests must not decide what others' requests are expected to cost: at most this
# many answers of each other caller count.
_OTHERS_ANSWERS: Final = 25.0
_MOST_CALLERS: Final = 256


@dataclass(slots=True)
class _Seen:
    """The number, sum and sum of squares of the logarithms of true over expected length."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        if self.n >= _MEMORY:
            kept = (_MEMORY - 1.0) / self.n
            self.n, self.total, self.squares = self.n * kept, self.total * kept, self.squares * kept
        self.n += 1.0
        self.total += value
        self.squares += value * value

    @property
    def factor(self) -> float:
        """The mean of the log-normal factor."""
        weight = _PRIOR_ANSWERS + self.n
        mean = self.total / weight
        spread = self.squares - 2.0 * mean * self.total + self.n * mean * mean
        variance = (_PRIOR_ANSWERS * _PRIOR_VARIANCE + max(0.0, spread)) / weight
        # The factor is 1 before the first answer.
        return math.exp(mean + (variance - _PRIOR_VARIANCE) / 2.0)


class OutputLengths:
    """What is known about the models' lengths. There is one per process; the storage keeps it."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[str, _Seen]] = {}
        self._factors: dict[tuple[str, str], Mapping[str, float]] = {}
        self._n_observed = 0
        self.changed = False

    def factors(self, effort: str, caller: str) -> Mapping[str, float]:
        """The factor on the expected length by catalogue name, for the models with recorded
        answers. The caller's own answers count in full, those of each other caller up to a limit.
        """
        found = self._factors.get((effort, caller))
        if found is None:
            own = ((model, seen) for (model, at), seen in self._seen.items() if at == effort)
            found = {model: _pooled(seen, caller).factor for model, seen in own}
            if len(self._factors) >= _MOST_CALLERS:
                self._factors.clear()
            self._factors[effort, caller] = found
        return found

    def observe(
        self, caller: str, model: str, effort: str, expected_tokens: float, tokens: float
    ) -> None:
        """Records the length of an answer in tokens. expected_tokens: the prediction before any
        factor."""
        if expected_tokens <= 0 or tokens <= 0:
            return
        ratio = min(max(tokens / expected_tokens, _LEAST_RATIO), _MOST_RATIO)
        callers = self._seen.setdefault((model, effort), {})
        seen = callers.pop(caller, None) or _Seen()
        seen.add(math.log(ratio))
        # The most recent caller is last, so that the one silent for longest is dropped first.
        callers[caller] = seen
        if len(callers) > _MOST_CALLERS:
            del callers[next(iter(callers))]
        self._n_observed += 1
        self.changed = True
        if self._n_observed % _REFRESHED_EVERY == 0 or self._n_observed < _REFRESHED_EVERY:
            self._factors.clear()

    def document(self) -> list[list[Any]]:
        """The state, as it is stored."""
        return [
            [model, effort, caller, seen.n, seen.total, seen.squares]
            for (model, effort), callers in self._seen.items()
            for caller, seen in callers.items()
        ]

    def restore(self, document: object) -> None:
        """Restores the state that an earlier process has stored. Entries that cannot be read are
        skipped."""
        for row in document if isinstance(document, list) else ():
            match row:
                case [str(model), str(effort), str(caller), int() | float() as n, *sums] if (
                    _are_sums(n, sums)
                ):
                    seen = _Seen(float(n), float(sums[0]), float(sums[1]))
                    self._seen.setdefault((model, effort), {})[caller] = seen
        self._factors.clear()


def _pooled(callers: Mapping[str, _Seen], caller: str) -> _Seen:
    pool = _Seen()
    for name, seen in callers.items():
        weight = 1.0 if name == caller else min(1.0, _OTHERS_ANSWERS / seen.n)
        pool.n += weight * seen.n
        pool.total += weight * seen.total
        pool.squares += weight * seen.squares
    return pool


def _are_sums(n: float, sums: list[Any]) -> bool:
    numbers = [n, *sums]
    are_numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in numbers)
    return len(sums) == 2 and are_numbers and 0 < n <= _MEMORY and sums[1] >= 0


def expected_thoughts(facts: Mapping[str, ModelFacts], effort: str) -> dict[str, float]:
    """Tokens of thoughts expected at this effort, by catalogue name. Models that do not think at
    this effort are missing."""
    asked = next((one for one in EFFORTS if one == effort), None)
    return {name: _thoughts(one, asked) for name, one in facts.items() if _thinks(one, asked)}


def _thinks(facts: ModelFacts, effort: Effort | None) -> bool:
    return facts.thinking.thinks_at(effort)


def _thoughts(facts: ModelFacts, effort: Effort | None) -> float:
    named = effort or facts.thinking.default_effort
    if named is not None and named in facts.expected_output_tokens:
        return float(facts.expected_output_tokens[named])
    fitted = None if effort is None else facts.thinking.nearest(effort) or effort
    return _DEFAULT_THOUGHTS if fitted is None else _THOUGHTS[fitted]


@asynccontextmanager
async def lengths_kept(
    background: Background, store: Store, lengths: Callable[[], OutputLengths]
) -> AsyncIterator[None]:
    """Restores what earlier processes have learnt; within the context, stores the state once a
    minute, and once at the end."""

    async def save() -> None:
        current = lengths()
        if current.changed:
            current.changed = False
            document = orjson.dumps(current.document()).decode()
            row = {"name": _NAME, "updated_at": micros(time.time()), "document": document}
            store.put(Kind.STATE, row)

    lengths().restore(await in_thread(partial(_stored, store.database)))
    job = Job(name="output lengths", work=save, every_s=60.0, stale_after_s=600.0)
    async with background.doing(job):
        try:
            yield
        finally:
            await save()


def _stored(database: Database) -> object:
    document = read_state(database, _NAME)
    try:
        return None if document is None else orjson.loads(document)
    except orjson.JSONDecodeError:
        return None  # what is lost is learnt again
