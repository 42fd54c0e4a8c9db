"""Reads votes from files of comparisons and of scores, as arrays.

A score file becomes votes by one rule: on each prompt, all pairs of its scored models meet, and the
higher score wins. Of more than MAX_PAIRS pairs so many are drawn with the seed, so that every model
is in one. Scores closer than TIE_MARGIN are a `tie` where they are at least GOOD_SCORE, else a
`tie_bothbad`. A row with `no_response` is left out: an answer that never came is no bad answer.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.data.model_names import canonical, columns, unified
from p2l_model.data.tables import Columns, numbers, read_columns, require, texts, turns
from p2l_model.errors import DataError
from p2l_model.types import Conversation, FloatArray, IntArray, Outcome

MAX_PAIRS: Final = 64
TIE_MARGIN: Final = 1e-9
GOOD_SCORE: Final = 0.5
_VOTE_COLUMNS: Final = ("prompt", "model_a", "model_b", "winner")
_SCORE_COLUMNS: Final = ("prompt", "model", "score")
_MAX_WEIGHT: Final = 1e6
_MAX_TOKENS: Final = 1e7
_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome} | {
    "tie (bothbad)": Outcome.TIE_BOTHBAD
}
_CODES: Final = {outcome: code for code, outcome in enumerate(Outcome)}


@dataclass(frozen=True, slots=True)
class VoteTable:
    """N votes on P prompts between M models.

    prompt (N,) indexes conversations; model_a, model_b (N,) index models; outcome (N,) indexes
    `Outcome`; p_model_a (N,) is NaN without a soft label; weight (N,); source and category are
    per vote; output_tokens_a, _b (N,), and the graded score_a, _b (N,) in [0, 1], are NaN where not
    known.
    """

    conversations: tuple[Conversation, ...] = field(repr=False)
    models: tuple[str, ...]
    prompt: IntArray
    model_a: IntArray
    model_b: IntArray
    outcome: IntArray
    p_model_a: FloatArray
    weight: FloatArray
    source: NDArray[np.str_]
    category: NDArray[np.str_]
    output_tokens_a: FloatArray
    output_tokens_b: FloatArray
    score_a: FloatArray
    score_b: FloatArray

    def __len__(self) -> int:
        return int(self.prompt.shape[0])

    def among(self, models: Sequence[str]) -> VoteTable:
        """The votes between the given models only, in whatever spelling; their indices follow the
        given order."""
        lookup = np.array(columns(self.models, models), dtype=np.int64)
        a, b = lookup[self.model_a], lookup[self.model_b]
        return self._take((a >= 0) & (b >= 0) & (a != b), models, a, b)

    def where(self, keep: NDArray[np.bool_]) -> VoteTable:
        """The votes for which keep (N,) is true."""
        return self._take(keep, self.models, self.model_a, self.model_b)

    def _take(
        self, keep: NDArray[np.bool_], models: Sequence[str], a: IntArray, b: IntArray
    ) -> VoteTable:
        return VoteTable(
            conversations=self.conversations,
            models=tuple(models),
            prompt=self.prompt[keep],
            model_a=a[keep],
            model_b=b[keep],
            outcome=self.outcome[keep],
            p_model_a=self.p_model_a[keep],
            weight=self.weight[keep],
            source=self.source[keep],
            category=self.category[keep],
            output_tokens_a=self.output_tokens_a[keep],
            output_tokens_b=self.output_tokens_b[keep],
            score_a=self.score_a[keep],
            score_b=self.score_b[keep],
        )


def load_votes(
    paths: Sequence[Path], *, seed: int = 0, score_range: tuple[float, float] = (0.0, 1.0)
) -> VoteTable:
    """Reads all votes of all files. Equal prompts and equal models are merged across files.

    score_range: the lowest and highest possible score of score files, mapped to [0, 1]. Raises
    DataError that names file and row, ExtraMissingError.
    """
    rows: list[dict[str, Any]] = []
    for path in paths:
        columns = read_columns(path)
        if "score" in columns and "winner" not in columns:
            rows.append(_from_scores(columns, path, seed, score_range))
        else:
            rows.append(_from_comparisons(columns, path))
    return _join(rows)


def fingerprint(paths: Sequence[Path]) -> dict[str, Any]:
    """Identifies training data for the manifest: file names and one SHA-256 over all contents."""
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    total = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return {"sha256": total, "files": [f"{path.parent.name}/{path.name}" for path in paths]}


def _from_comparisons(columns: Columns, path: Path) -> dict[str, Any]:
    require(columns, _VOTE_COLUMNS, path)
    votes = list(zip(*(columns[name] for name in _VOTE_COLUMNS[1:]), strict=True))
    for row, (model_a, model_b, _) in enumerate(votes, 1):
        _check_models(model_a, model_b, path, row)
    weights = numbers(columns, "weight", path, 0.0, _MAX_WEIGHT)
    return {
        "turns": [turns(value, path, row) for row, value in enumerate(columns["prompt"], 1)],
        "model_a": [canonical(a) for a, _, _ in votes],
        "model_b": [canonical(b) for _, b, _ in votes],
        "outcome": [_outcome(winner, path, row) for row, (_, _, winner) in enumerate(votes, 1)],
        "p_model_a": numbers(columns, "p_model_a", path, 0.0, 1.0),
        "weight": [1.0 if math.isnan(weight) else weight for weight in weights],
        "source": texts(columns, "source", path.parent.name),
        "category": texts(columns, "category", ""),
        "output_tokens_a": numbers(columns, "output_tokens_a", path, 0.0, _MAX_TOKENS),
        "output_tokens_b": numbers(columns, "output_tokens_b", path, 0.0, _MAX_TOKENS),
        # Grades in a file of comparisons are on a scale of their own, so they are not used.
        "score_a": [math.nan] * len(votes),
        "score_b": [math.nan] * len(votes),
    }


def _check_models(model_a: Any, model_b: Any, path: Path, row: int) -> None:
    for name in (model_a, model_b):
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: row {row}: model_a and model_b must be names")
    if model_a == model_b:
        raise DataError(f"{path}: row {row}: {model_a} is compared with itself")


def _outcome(winner: Any, path: Path, row: int) -> int:
    outcome = _OUTCOMES.get(winner) if isinstance(winner, str) else None
    if outcome is None:
        known = ", ".join(Outcome)
        shown = ascii(winner)[:40]
        raise DataError(f"{path}: row {row}: winner is {shown}; it must be one of {known}")
    return _CODES[outcome]


def _from_scores(
    columns: Columns, path: Path, seed: int, score_range: tuple[float, float]
) -> dict[str, Any]:
    require(columns, _SCORE_COLUMNS, path)
    low, high = score_range
    prompts = [turns(value, path, row) for row, value in enumerate(columns["prompt"], 1)]
    scores = _unit_scores(columns, path, low, high)
    tokens = numbers(columns, "output_tokens", path, 0.0, _MAX_TOKENS)
    pairs = _pairs(_answers(columns, prompts, path), seed)
    first = [a for a, _ in pairs]
    second = [b for _, b in pairs]
    sources = texts(columns, "source", path.parent.name)
    categories = texts(columns, "category", "")
    models = columns["model"]
    return {
        "turns": [prompts[a] for a in first],
        "model_a": [canonical(models[a]) for a in first],
        "model_b": [canonical(models[b]) for b in second],
        "outcome": [_scored_outcome(scores[a], scores[b]) for a, b in pairs],
        "p_model_a": [math.nan] * len(pairs),
        "weight": [1.0] * len(pairs),
        "source": [sources[a] for a in first],
        "category": [categories[a] for a in first],
        "output_tokens_a": [tokens[a] for a in first],
        "output_tokens_b": [tokens[b] for b in second],
        "score_a": [scores[a] for a in first],
        "score_b": [scores[b] for b in second],
    }


def _answers(
    columns: Columns, prompts: Sequence[tuple[str, ...]], path: Path
) -> dict[tuple[str, ...], dict[str, int]]:
    """Each prompt's models, and the row of their answers."""
    models = columns["model"]
    for row, model in enumerate(models, 1):
        if not isinstance(model, str) or not model:
            raise DataError(f"{path}: row {row}: model must be a name")
    absent = columns.get("no_response") or [None] * len(prompts)
    column = unified(map(canonical, set(models)))
    answers: dict[tuple[str, ...], dict[str, int]] = {}
    for row, (prompt, model) in enumerate(zip(prompts, models, strict=True)):
        if absent[row] is not True:
            answers.setdefault(prompt, {})[column[canonical(model)]] = row
    return answers


def _unit_scores(columns: Columns, path: Path, low: float, high: float) -> list[float]:
    try:
        raw = numbers(columns, "score", path, low, high)
    except DataError as error:
        raise DataError(f"{error}; name another range with --score-range LO,HI") from error
    for row, score in enumerate(raw, 1):
        if math.isnan(score):
            raise DataError(f"{path}: row {row}: score is empty")
    return [(score - low) / (high - low) for score in raw]


def _pairs(
    by_prompt: Mapping[tuple[str, ...], Mapping[str, int]], seed: int
) -> list[tuple[int, int]]:
    """Pairs of rows, with sides shuffled so that the side carries no information."""
    chance = random.Random(seed)
    chosen: list[tuple[int, int]] = []
    for rows in by_prompt.values():
        kept = _drawn(list(rows.values()), chance)
        chosen += [pair if chance.random() < 0.5 else (pair[1], pair[0]) for pair in kept]
    return chosen


def _drawn(rows: list[int], chance: random.Random) -> list[tuple[int, int]]:
    pairs = list(itertools.combinations(rows, 2))
    if len(pairs) <= MAX_PAIRS:
        return pairs
    order = chance.sample(rows, len(rows))
    ring = set(zip(order[::2], [*order[1::2], *order[:1]], strict=False))
    rest = [pair for pair in pairs if pair not in ring and pair[::-1] not in ring]
    return [*sorted(ring), *chance.sample(rest, max(MAX_PAIRS - len(ring), 0))]


def _scored_outcome(score_a: float, score_b: float) -> int:
    if abs(score_a - score_b) > TIE_MARGIN:
        return _CODES[Outcome.MODEL_A if score_a > score_b else Outcome.MODEL_B]
    return _CODES[Outcome.TIE if score_a >= GOOD_SCORE else Outcome.TIE_BOTHBAD]


def _join(tables: Sequence[Mapping[str, Any]]) -> VoteTable:
    """One table of all rows. Votes between two hosts of the same weights are dropped, as they carry
    no information."""
    joined = {name: [value for table in tables for value in table[name]] for name in tables[0]}
    spelt = unified({*joined["model_a"], *joined["model_b"]})
    for side in ("model_a", "model_b"):
        joined[side] = [spelt[name] for name in joined[side]]
    differ = [a != b for a, b in zip(joined["model_a"], joined["model_b"], strict=True)]
    joined = {name: list(itertools.compress(values, differ)) for name, values in joined.items()}
    prompts = {turn: index for index, turn in enumerate(dict.fromkeys(joined["turns"]))}
    models = sorted({*joined["model_a"], *joined["model_b"]})
    column = {name: index for index, name in enumerate(models)}
    return VoteTable(
        conversations=tuple(Conversation(turn) for turn in prompts),
        models=tuple(models),
        prompt=np.array([prompts[turn] for turn in joined["turns"]], dtype=np.int64),
        model_a=np.array([column[name] for name in joined["model_a"]], dtype=np.int64),
        model_b=np.array([column[name] for name in joined["model_b"]], dtype=np.int64),
        outcome=np.array(joined["outcome"], dtype=np.int64),
        p_model_a=np.array(joined["p_model_a"], dtype=np.float64),
        weight=np.array(joined["weight"], dtype=np.float64),
        source=np.array(joined["source"], dtype=np.str_),
        category=np.array(joined["category"], dtype=np.str_),
        output_tokens_a=np.array(joined["output_tokens_a"], dtype=np.float64),
        output_tokens_b=np.array(joined["output_tokens_b"], dtype=np.float64),
        score_a=np.array(joined["score_a"], dtype=np.float64),
        score_b=np.array(joined["score_b"], dtype=np.float64),
    )
