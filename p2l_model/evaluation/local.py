"""How well a few local answers, on top of facts and a checkpoint, foresee graded answers.

For each seed the prompts are split in halves; N pairs of a model and a prompt are drawn with
replacement from the rows of one half; a local layer learns from them; every row of the other half
is predicted; then the halves change places. Cross-entropy takes the score as a soft target and
clips predictions to [1e-4, 1 - 1e-4]; it is the mean over the rows of a prompt, over seeds, then
over prompts. Two references are computed alike: each model's mean over all other prompts, and
shrunk means of the models learnt from the same N answers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.data.tables import Columns, numbers, require, texts, turns
from p2l_model.errors import DataError
from p2l_model.evaluation.metrics import prompt_bootstrap
from p2l_model.local.layer import LocalLayer
from p2l_model.local.terms import PromptTerms
from p2l_model.placement.place import Placer
from p2l_model.types import Conversation, FloatArray, IntArray

N_SEEDS: Final = 10
_CLIP: Final = 1e-4
_MIN_PROMPTS: Final = 10
# How many answers the mean of all counts for in a shrunk mean; the best in hindsight is reported.
_SHRINKAGES: Final = (1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class GradedRows:
    """N graded answers. prompt, model (N,): indices; score (N,) in [0, 1]; judge (N,): names, empty
    where there is one judge for all."""

    conversations: tuple[Conversation, ...]
    models: tuple[str, ...]
    prompt: IntArray
    model: IntArray
    score: FloatArray
    judge: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.score.size)


def graded_rows(
    columns: Columns, path: Path, score_range: tuple[float, float] = (0.0, 1.0)
) -> GradedRows:
    """Reads the rows of a file of scores. Rows without a score, or whose answer never came, are
    left out. Raises DataError."""
    require(columns, ("model", "score"), path)
    said = columns["prompt"] if "prompt" in columns else columns.get("turns")
    if said is None:
        raise DataError(f"{path}: the column 'prompt' is missing")
    identities = columns.get("prompt_id")
    low, high = score_range
    names: dict[str, int] = {}
    prompts: dict[Any, int] = {}
    conversations: list[Conversation] = []
    rows: list[tuple[int, int, float, str]] = []
    scores = numbers(columns, "score", path, -sys.float_info.max, sys.float_info.max)
    judges = texts(columns, "judge", "")
    absent = columns.get("no_response") or [None] * len(said)
    given = zip(said, columns["model"], scores, judges, absent, strict=True)
    for number, (value, model, score, judge, is_absent) in enumerate(given, start=1):
        if math.isnan(score) or is_absent is True:
            continue
        unit = (score - low) / (high - low)
        if not 0.0 <= unit <= 1.0:
            raise DataError(f"{path}: row {number}: the score {score} is outside {low} to {high}")
        read = turns(value, path, number) if identities is None else ()
        identity = read if identities is None else identities[number - 1]
        if identity not in prompts:
            prompts[identity] = len(conversations)
            conversations.append(Conversation(read or turns(value, path, number)))
        at = names.setdefault(model, len(names))
        rows.append((prompts[identity], at, unit, judge))
    if not rows:
        raise DataError(f"{path}: has no graded answer")
    prompt, model_at, unit_score, judge_of = zip(*rows, strict=True)
    one_judge = len(set(judge_of)) == 1
    return GradedRows(
        tuple(conversations),
        tuple(names),
        np.array(prompt),
        np.array(model_at),
        np.array(unit_score),
        () if one_judge else judge_of,
    )


def evaluate_local(
    rows: GradedRows,
    terms: Sequence[PromptTerms],
    placer: Placer,
    n_answers: int,
    n_seeds: int = N_SEEDS,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The report. terms (P,): of each prompt. n_answers: 0 or more."""
    mean, uncertain = placer.joint(rows.models)
    n_axes = len(terms[0].axes) if terms else 0

    def fresh() -> LocalLayer:
        return LocalLayer.start(rows.models, mean, uncertain, n_axes)

    ours = np.zeros(len(rows))
    shrunk = {strength: np.zeros(len(rows)) for strength in _SHRINKAGES}
    for seed in range(n_seeds):
        for drawn, held in _halves(rows, n_answers, seed):
            layer = fresh()
            _learn(layer, rows, terms, drawn)
            ours[held] += cross_entropy(rows.score[held], _predict(layer, rows, terms, held))
            for strength, total in shrunk.items():
                means = _shrunk_means(rows, drawn, strength)
                total[held] += cross_entropy(rows.score[held], means[rows.model[held]])
        if progress is not None:
            progress(seed + 1, n_seeds)
    by_prompt = _by_prompt(rows, ours / n_seeds)
    same = min(
        (_by_prompt(rows, total / n_seeds) for total in shrunk.values()), key=lambda one: one.mean()
    )
    means = _by_prompt(rows, cross_entropy(rows.score, _other_means(rows)))
    report: dict[str, Any] = {
        "n": int(by_prompt.size),
        "n_rows": len(rows),
        "n_models": len(rows.models),
        "n_answers": n_answers,
        "n_seeds": n_seeds,
        "cross_entropy": float(by_prompt.mean()),
        "model_means": float(means.mean()),
        "means_same_n": float(same.mean()),
    }
    for name, reference in (("delta", means), ("delta_same_n", same)):
        difference = by_prompt - reference
        report[name] = float(difference.mean())
        report[f"{name}_ci95"] = prompt_bootstrap(
            difference, np.ones(difference.size), np.arange(difference.size), seed=0
        )
    return report | _orders(fresh(), rows, terms, placer)


def cross_entropy(score: FloatArray, predicted: FloatArray) -> FloatArray:
    """Per row, with the score as a soft target."""
    p = np.clip(predicted, _CLIP, 1 - _CLIP)
    loss: FloatArray = -(score * np.log(p) + (1 - score) * np.log1p(-p))
    return loss


def _halves(rows: GradedRows, n: int, seed: int) -> Iterable[tuple[IntArray, IntArray]]:
    """The rows that are drawn and the rows that are held out, for each half in turn."""
    chance = np.random.default_rng(seed)
    n_prompts = len(rows.conversations)
    first = chance.permutation(n_prompts) < n_prompts // 2
    for half in (first, ~first):
        known = np.flatnonzero(half[rows.prompt])
        if n > 0 and known.size == 0:
            raise DataError("a half of the prompts has no answers: more prompts are needed")
        drawn = chance.choice(known, n) if n > 0 else np.zeros(0, dtype=np.int64)
        yield drawn, np.flatnonzero(~half[rows.prompt])


def _learn(
    layer: LocalLayer, rows: GradedRows, terms: Sequence[PromptTerms], drawn: IntArray
) -> None:
    for row in drawn:
        layer.learn_grade(
            rows.models[rows.model[row]],
            float(rows.score[row]),
            terms[rows.prompt[row]],
            rows.judge[row] if rows.judge else None,
        )


def _predict(
    layer: LocalLayer, rows: GradedRows, terms: Sequence[PromptTerms], held: IntArray
) -> FloatArray:
    predicted = np.empty(held.size)
    groups: dict[tuple[int, str], list[int]] = {}
    for place, row in enumerate(held):
        judge = rows.judge[row] if rows.judge else ""
        groups.setdefault((int(rows.prompt[row]), judge), []).append(place)
    for (prompt, judge), places in groups.items():
        models = [rows.models[rows.model[held[place]]] for place in places]
        predicted[places] = layer.predict(models, terms[prompt], judge or None).p_good
    return predicted


def _shrunk_means(rows: GradedRows, drawn: IntArray, strength: float) -> FloatArray:
    """Each model's mean (M,), drawn towards the mean of all, which is drawn towards half."""
    score, model = rows.score[drawn], rows.model[drawn]
    overall = (float(score.sum()) + 0.5) / (score.size + 1)
    total = np.bincount(model, weights=score, minlength=len(rows.models))
    count = np.bincount(model, minlength=len(rows.models))
    means: FloatArray = (total + strength * overall) / (count + strength)
    return means


def _other_means(rows: GradedRows) -> FloatArray:
    """For each row (sum + 0.5) / (n + 1) of its model over all other prompts."""
    n_models = len(rows.models)
    cell = rows.prompt * n_models + rows.model
    total = np.bincount(rows.model, weights=rows.score, minlength=n_models)
    count = np.bincount(rows.model, minlength=n_models)
    own_total = np.bincount(cell, weights=rows.score)[cell]
    own_count = np.bincount(cell)[cell]
    others = (total[rows.model] - own_total + 0.5) / (count[rows.model] - own_count + 1)
    return np.asarray(others, dtype=np.float64)


def _by_prompt(rows: GradedRows, loss: FloatArray) -> FloatArray:
    n_prompts = len(rows.conversations)
    total = np.bincount(rows.prompt, weights=loss, minlength=n_prompts)
    means: FloatArray = total / np.bincount(rows.prompt, minlength=n_prompts)
    return means


def _orders(
    layer: LocalLayer, rows: GradedRows, terms: Sequence[PromptTerms], placer: Placer
) -> dict[str, Any]:
    """Spearman's correlation of the predicted order of models, before any answer, with the true
    one."""
    every = np.arange(len(rows))
    predicted = _predict(layer, rows, terms, every)
    n_models = len(rows.models)
    count = np.bincount(rows.model, minlength=n_models)
    guess = np.bincount(rows.model, weights=predicted, minlength=n_models) / np.maximum(count, 1)
    truth = np.bincount(rows.model, weights=rows.score, minlength=n_models) / np.maximum(count, 1)
    cells = {(int(p), int(m)) for p, m in zip(rows.prompt, rows.model, strict=True)}
    n_prompts = np.bincount([model for _, model in cells], minlength=n_models)
    enough = n_prompts >= _MIN_PROMPTS
    public = np.array([placer.place(name).n_of_model > 0 for name in rows.models]) & enough
    return {
        "order_spearman": _spearman(guess[enough], truth[enough]),
        "n_models_order": int(enough.sum()),
        "order_spearman_facts": _spearman(guess[public], truth[public]),
        "n_models_facts": int(public.sum()),
    }


def _spearman(a: FloatArray, b: FloatArray) -> float | None:
    """None where fewer than three models, or models that are all alike, have no order."""
    from scipy.stats import rankdata

    if a.size < 3:
        return None
    x, y = rankdata(a), rankdata(b)
    if x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def merged(rows: GradedRows, names: Mapping[str, str]) -> GradedRows:
    """The same rows with models renamed; equal names become one model."""
    renamed = [names.get(name, name) for name in rows.models]
    at = {name: index for index, name in enumerate(dict.fromkeys(renamed))}
    index = np.array([at[name] for name in renamed])
    return GradedRows(
        rows.conversations, tuple(at), rows.prompt, index[rows.model], rows.score, rows.judge
    )
