"""Whether a person agrees with the judge: pairs of answers without names, and Cohen's kappa."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.data.rows import json_object
from p2l_model.errors import DataError
from server.judging.judge import winner_of

VOTES: Final = "review.jsonl"
# Below this, agreement is called fair at best (Landis and Koch 1977).
LEAST_KAPPA: Final = 0.4
_RESAMPLES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Pair:
    """An answer and the reference, as the judge compared them. winner: the judge's: model_a, the
    model, model_b, the reference, or tie. swapped: whether the reference is shown first."""

    prompt_id: str
    model: str
    prompt: str = field(repr=False)
    answer: str = field(repr=False)
    reference: str = field(repr=False)
    winner: str
    swapped: bool

    @property
    def shown(self) -> tuple[str, str]:
        """The two answers in the order in which they are shown."""
        pair = self.answer, self.reference
        return pair[::-1] if self.swapped else pair

    def winner_shown(self, place: int | None) -> str:
        """The winner, where the answer shown at this place (0 or 1) is better; None: a tie."""
        if place is None:
            return "tie"
        return "model_b" if (place == 0) == self.swapped else "model_a"


@dataclass(frozen=True, slots=True)
class Agreement:
    """n: votes. kappa: Cohen's (1960) over win, tie and loss, with its 95% interval; None where all
    agree on one outcome or there are no votes. observed: the share of equal verdicts."""

    n: int
    observed: float | None
    kappa: float | None
    ci95: tuple[float, float] | None

    @property
    def is_poor(self) -> bool:
        """Whether the judge should not be relied on."""
        return self.kappa is not None and self.kappa < LEAST_KAPPA

    def to_json(self) -> dict[str, Any]:
        """The agreement."""
        return {
            "n": self.n,
            "observed": self.observed,
            "kappa": self.kappa,
            "kappa_ci95": None if self.ci95 is None else list(self.ci95),
            "poor": self.is_poor,
        }


def pairs_of(folder: Path, n: int, seed: int) -> list[Pair]:
    """At most n pairs of a run, at random, without those that were voted on. Raises DataError where
    the folder holds no judged answers."""
    judged = [row for row in _rows(folder, "grades.jsonl") if row.get("judge_version") is not None]
    answers = {
        (row["prompt_id"], row["catalogue_name"]): row for row in _rows(folder, "answers.jsonl")
    }
    reference = json.loads((folder / "plan.json").read_text("utf-8"))["reference"]
    seen = {(vote["prompt_id"], vote["model"]) for vote in votes_of(folder)}
    chance = random.Random(seed)
    pairs = [
        pair
        for row in judged
        if (row["prompt_id"], row["catalogue_name"]) not in seen
        for pair in _pair(row, answers, reference, swapped=chance.random() < 0.5)
    ]
    if not judged:
        raise DataError(f"{folder} holds no answers that a judge has compared")
    return chance.sample(pairs, min(n, len(pairs)))


def _pair(
    row: Mapping[str, Any],
    answers: Mapping[tuple[str, str], Mapping[str, Any]],
    reference: str | None,
    *,
    swapped: bool,
) -> Iterator[Pair]:
    model, prompt_id = row["catalogue_name"], row["prompt_id"]
    own = answers.get((prompt_id, model))
    other = None if reference is None else answers.get((prompt_id, reference))
    text = None if own is None else own.get("reference")
    if text is None and other is not None:
        text = other["answer"]
    if own is None or text is None or model == reference:
        return
    winner, prompt = winner_of(row["score_raw"]), "\n\n".join(row["prompt"])
    yield Pair(prompt_id, model, prompt, own["answer"], text, winner, swapped)


def votes_of(folder: Path) -> list[dict[str, Any]]:
    """The votes given so far."""
    return _rows(folder, VOTES) if (folder / VOTES).exists() else []


def agreement(votes: Sequence[Mapping[str, Any]], seed: int = 0) -> Agreement:
    """The agreement of the person's and the judge's winners. Its interval: percentiles of resampled
    votes."""
    pairs = [(str(vote["person"]), str(vote["judge"])) for vote in votes]
    if not pairs:
        return Agreement(0, None, None, None)
    observed = sum(a == b for a, b in pairs) / len(pairs)
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, len(pairs), (_RESAMPLES, len(pairs)))
    kappas = [kappa([pairs[place] for place in row]) for row in drawn]
    known = [one for one in kappas if one is not None]
    found = kappa(pairs)
    if found is None or not known:
        return Agreement(len(pairs), observed, found, None)
    low, high = np.quantile(known, [0.025, 0.975])
    return Agreement(len(pairs), observed, found, (float(low), float(high)))


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of N pairs of verdicts: (observed - expected) / (1 - expected). None where both
    always give the same one verdict."""
    n = len(pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(first[one] * second[one] for one in first) / n**2
    if expected == 1:
        return None
    return (sum(a == b for a, b in pairs) / n - expected) / (1 - expected)


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / name
    try:
        # splitlines() would end a line at U+2028 and others, which an answer may hold as they are.
        lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: name the folder of a run that has ended with --out"
        ) from error
    rows = enumerate(lines, 1)
    return [json_object(line, f"{path}: row {row}") for row, line in rows if line.strip()]
