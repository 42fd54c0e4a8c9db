"""How much does the local layer know of a new model, and does it know how much it knows?

    python studies/study_local.py DATA/SET/scores.train.parquet ... [--checkpoint FOLDER]

First, newcomers: one model at a time is new. Of three quarters of the prompts the layer learns
answers of the other models, then 0, 5, 20, 50 and all answers of the new one, and predicts the new
one's answers to the last quarter. Told is the share of the gain that all its answers bring,
over what is known of a model of which nothing is: the mean of the others on each prompt. Second,
intervals: how often the true mean score of a model lies in the layer's 80% interval, before any
answer and after some answers of all models together. No answer of a set was used for the facts; the
checkpoint must not be trained on the sets.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2l_model.analysis.prompt_terms import read_terms
from p2l_model.analysis.scored import PromptReader
from p2l_model.data.model_names import canonical
from p2l_model.data.tables import read_columns
from p2l_model.evaluation.local import GradedRows, cross_entropy, graded_rows, merged
from p2l_model.local.layer import LocalLayer
from p2l_model.local.terms import PromptTerms
from p2l_model.placement.place import bundled_placer
from p2l_model.types import FloatArray

COUNTS = (0, 5, 20, 50)
KNOWN, LEAST, MODELS, SEEDS = 1000, 60, 24, 6
ANSWERS = (0, 50)
EIGHTY, RESAMPLES = 1.2816, 2000


@dataclass(frozen=True)
class Source:
    name: str
    rows: GradedRows
    terms: list[PromptTerms]


def read(path: Path, reader: PromptReader | None, judge: str | None = None) -> Source:
    columns = read_columns(path)
    rows = graded_rows(columns, path)
    rows = merged(rows, {name: canonical(name) for name in rows.models})
    if reader is None:
        return Source(path.parent.name, rows, [PromptTerms()] * len(rows.conversations))
    terms = read_terms(reader, rows.conversations, rows.models).terms
    return Source(path.parent.name, rows, list(terms))


class Teacher:
    """Layers over some models of a source."""

    def __init__(self, source: Source, models: list[int]) -> None:
        self.source, self.rows = source, source.rows
        self.names = [source.rows.models[m] for m in models]
        self.mean, self.uncertain = bundled_placer().joint(self.names)

    def fresh(self) -> LocalLayer:
        return LocalLayer.start(self.names, self.mean, self.uncertain, 0)

    def learn(self, layer: LocalLayer, at: FloatArray) -> None:
        rows = self.rows
        for row in at:
            layer.learn_grade(
                rows.models[rows.model[row]],
                float(rows.score[row]),
                self.source.terms[rows.prompt[row]],
                rows.judge[row] if rows.judge else None,
            )

    def predict(
        self, layer: LocalLayer, at: FloatArray, name: str
    ) -> tuple[FloatArray, FloatArray]:
        """P(good) of a model on rows, and the mean of the others' there."""
        own, others = np.empty(at.size), np.empty(at.size)
        k = self.names.index(name)
        for place, row in enumerate(at):
            judge = self.rows.judge[row] if self.rows.judge else None
            found = layer.predict(
                self.names, self.source.terms[self.rows.prompt[row]], judge
            ).p_good
            own[place], others[place] = found[k], np.delete(found, k).mean()
        return own, others


def newcomers(source: Source) -> dict[str, FloatArray]:
    """Model -> cross-entropy as unknown, then after each of COUNTS and after all of its answers."""
    rows = source.rows
    found: dict[str, list[list[float]]] = {}
    for seed in range(SEEDS):
        chance = np.random.default_rng(seed)
        asked = chance.permutation(len(rows.conversations)) % 4 == 0
        known, held = ~asked[rows.prompt], asked[rows.prompt]
        enough = np.bincount(rows.model[known], minlength=len(rows.models)) >= LEAST
        models = chance.permutation(np.flatnonzero(enough))[:MODELS].tolist()
        teacher = Teacher(source, models)
        within = np.isin(rows.model, models)
        for new in models:
            layer = teacher.fresh()
            others = np.flatnonzero(known & within & (rows.model != new))
            teacher.learn(layer, chance.permutation(others)[:KNOWN])
            own = chance.permutation(np.flatnonzero(known & (rows.model == new)))[:KNOWN]
            test = np.flatnonzero(held & (rows.model == new))[:200]
            losses, seen = [], 0
            for count in (*COUNTS, own.size):
                teacher.learn(layer, own[seen:count])
                seen = count
                p, mean = teacher.predict(layer, test, rows.models[new])
                if not losses:
                    losses.append(float(cross_entropy(rows.score[test], mean).mean()))
                losses.append(float(cross_entropy(rows.score[test], p).mean()))
            found.setdefault(rows.models[new], []).append(losses)
    return {name: np.mean(losses, axis=0) for name, losses in found.items()}


def shares(losses: list[FloatArray]) -> Iterator[str]:
    """Share of the full gain for each of COUNTS, with an interval over models. losses: of each
    source (n, 2 + C); each source weighs the same."""
    chance = np.random.default_rng(0)

    def at(taken: list[FloatArray]) -> FloatArray:
        means = np.mean([one.mean(axis=0) for one in taken], axis=0)
        return (means[0] - means[1:-1]) / (means[0] - means[-1])

    draws = [
        at([one[chance.integers(0, len(one), len(one))] for one in losses])
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    for share, a, b in zip(at(losses), low, high, strict=True):
        yield f"{share:.2f} [{a:.2f}, {b:.2f}]"


def coverage(source: Source, n: int) -> float:
    """How often a model's true mean is in its 80% interval."""
    rows, inside = source.rows, []
    judge = rows.judge[0] if rows.judge else None
    kept = np.ones(len(rows), dtype=bool)
    if judge is not None:
        kept = np.array(rows.judge) == judge
    counts = np.bincount(rows.model[kept], minlength=len(rows.models))
    models = np.flatnonzero(counts >= LEAST)
    kept &= np.isin(rows.model, models)
    totals = np.bincount(rows.model[kept], weights=rows.score[kept], minlength=len(rows.models))
    counts = np.bincount(rows.model[kept], minlength=len(rows.models))
    teacher = Teacher(source, models.tolist())
    for seed in range(1 if n == 0 else 10):
        layer = teacher.fresh()
        teacher.learn(layer, np.random.default_rng(seed).choice(np.flatnonzero(kept), n))
        found = layer.predict(teacher.names, PromptTerms(), judge)
        for k, model in enumerate(models):
            share = (totals[model] + 0.5) / (counts[model] + 1)
            noise = 1 / (counts[model] * share * (1 - share))
            apart = abs(math.log(share / (1 - share)) - found.mean[k])
            inside.append(apart <= EIGHTY * math.sqrt(found.sd[k] ** 2 + noise))
    return float(np.mean(inside))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=Path, nargs="+")
    parser.add_argument("--checkpoint")
    asked = parser.parse_args()
    reader = None if asked.checkpoint is None else PromptReader.load(asked.checkpoint, "auto")
    sources = [read(path, reader) for path in asked.scores]
    print("| set | models |", " | ".join(f"{n} answers" for n in COUNTS), "| gain of all |")
    print("|---" * (3 + len(COUNTS)) + "|")
    every = []
    for source in sources:
        losses = np.array(list(newcomers(source).values()))
        every.append(losses)
        gain = float((losses[:, 0] - losses[:, -1]).mean())
        told = " | ".join(shares([losses]))
        print(f"| {source.name} | {len(losses)} | {told} | {gain:.4f} |", flush=True)
    print(f"| all, each set alike | | {' | '.join(shares(every))} | |", flush=True)
    print("| set |", " | ".join(f"80% interval holds after {n}" for n in ANSWERS), "|")
    print("|---" * (1 + len(ANSWERS)) + "|")
    held = np.array([[coverage(source, n) for n in ANSWERS] for source in sources])
    for source, row in zip(sources, held, strict=True):
        print(f"| {source.name} |", " | ".join(f"{one:.2f}" for one in row), "|")
    print("| mean of the sets |", " | ".join(f"{one:.2f}" for one in held.mean(axis=0)), "|")


if __name__ == "__main__":
    main()
