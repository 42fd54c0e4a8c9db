"""What 5 USD of one's own prompts tell, where the truth is known: many runs of `learn` on models of
known strengths and a judge of known biases (tests/support/known_models.py).

Buying is played without HTTP and without waiting; grading, biases, intervals and stopping are the
product's own. For each run: the prompts are new; the answers are bought prompt by prompt until the
money is out or places are settled; then the best model of each kind of prompt is chosen by the
grades. Regret: how much better the truly best choice is, in the judge's unbiased mean score. How
long a model's answers are is drawn anew for each run: length has nothing to do with strength.

    PYTHONPATH=tests/support .venv/bin/python studies/study_learn.py --runs 200
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
from known_models import (
    JUDGE,
    KINDS,
    MODELS,
    Known,
    Leaning,
    answer,
    chance,
    prompt,
    quality,
    said_by,
)

from server.judging.judge import combined, instruction, verdict_of
from server.offline.learn.buyer import Bought
from server.offline.learn.journal import Want
from server.offline.learn.plan import RunPlan
from server.offline.learn.results import Results, results_of
from server.offline.learn.run import line_of
from server.offline.learn.standing import settled
from server.offline.learn.tasks import Task

REFERENCE = "gemini-3.8-flash"
BY_NAME = {one.name: one for one in MODELS}
# Characters of the judge's instruction and of the frame around the answers.
FRAME = len(instruction().text) + 200


@dataclass
class Played:
    """A journal that was never on disk."""

    done: dict[Want, Mapping[str, Any]] = field(default_factory=dict)
    grades: dict[Want, float] = field(default_factory=dict)
    spent: float = 0.0
    settled: dict[str, int] = field(default_factory=dict)
    n_prompts: int = 0

    def buy(self, want: Want, text: str, n_input: int, model: Known) -> str:
        n_in, n_out = n_input // 4, max(1, len(text) // 4)
        cost = (n_in * model.input_usd + n_out * model.output_usd) / 1e6
        bought = Bought(text, "stop", n_in, n_out, Decimal(repr(cost)), 0.1)
        self.done[want] = {"do": "answer", **line_of(bought, "req")}
        self.spent += cost
        return text


def plan_of(tasks: Sequence[Task]) -> RunPlan:
    return RunPlan(
        run="study",
        seed=0,
        prompts=tuple(task.id for task in tasks),
        models=tuple(BY_NAME),
        left_out=(),
        reference=REFERENCE,
        judges={name: JUDGE.name for name in BY_NAME if name != REFERENCE},
        caps={},
        judge_caps={},
        judge_version=instruction().version,
        checker=None,
    )


def tasks_of(run: int, n: int) -> list[Task]:
    texts = [prompt(KINDS[number % 4], run * 100_000 + number) for number in range(n)]
    return [
        Task(f"{run}-{number}", ({"role": "user", "content": text},), (text,), KINDS[number % 4],
             None)
        for number, text in enumerate(texts)
    ]  # fmt: skip


def models_of(run: int) -> dict[str, Known]:
    """The models, with the lengths of their answers exchanged at random."""
    words = [one.words for one in MODELS]
    chance("words", run).shuffle(words)
    return {one.name: replace(one, words=n) for one, n in zip(MODELS, words, strict=True)}


def played(
    models: Mapping[str, Known],
    tasks: Sequence[Task],
    leaning: Leaning,
    usd: float,
    *,
    stops: bool,
) -> Played:
    """Buys until the money is out. stops: whether models whose place is settled are left out."""
    journal = Played()
    scores: dict[str, dict[str, float]] = {}
    for task in tasks:
        wanted = [name for name in BY_NAME if name not in journal.settled or not stops]
        if journal.spent >= usd or not [name for name in wanted if name != REFERENCE]:
            break
        journal.n_prompts += 1
        text = task.turns[0]
        said = {}
        for name in dict.fromkeys([REFERENCE, *wanted]):
            want = Want(task.id, name)
            said[name] = journal.buy(want, answer(models[name], text), len(text), models[name])
        scores.setdefault(REFERENCE, {})[task.id] = 0.5
        for name in wanted:
            if name != REFERENCE:
                score = _judged(journal, task, name, said, leaning)
                scores.setdefault(name, {})[task.id] = score
        for model in settled(scores):
            journal.settled.setdefault(model, journal.n_prompts)
    return journal


def _judged(
    journal: Played, task: Task, name: str, said: Mapping[str, str], leaning: Leaning
) -> float:
    values = []
    for first in (True, False):
        pair = said[name], said[REFERENCE]
        shown = dict(zip(("first_answer", "second_answer"), pair if first else pair[::-1],
                         strict=True))  # fmt: skip
        body = {"model": JUDGE.name, "messages": [
            {"role": "system", "content": ""}, {"role": "user", "content": json.dumps(shown)},
        ]}  # fmt: skip
        n_input = FRAME + sum(map(len, pair))
        text = journal.buy(
            Want(task.id, JUDGE.name, name, first), said_by(body, leaning), n_input, JUDGE
        )
        value = verdict_of(text)
        assert value is not None
        values.append(value if first else 1 - value)
    return combined(*values)


@cache
def truth(sharpness: float, band: float, n: int = 4_000) -> Mapping[tuple[str, str], float]:
    """The unbiased mean score of each model against the reference, by model and kind ("" for all),
    over prompts that no run has."""
    leaning = Leaning(sharpness, band=band)
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(n):
        kind = KINDS[number % 4]
        text = prompt(kind, 10**9 + number)
        other = quality(BY_NAME[REFERENCE], text)
        for name, model in BY_NAME.items():
            score = 0.5 if name == REFERENCE else leaning.score(quality(model, text), other)
            found.setdefault((name, kind), []).append(score)
            found.setdefault((name, ""), []).append(score)
    return {key: float(np.mean(values)) for key, values in found.items()}


def chosen(results: Results, *, raw: bool = False) -> dict[str, str]:
    """The best model of each kind ("" for all) by the grades. A kind's mean is drawn towards the
    model's mean of all kinds, as ten more prompts would."""
    by_kind: dict[str, dict[str, float]] = {}
    for model in BY_NAME:
        own = [one for one in results.grades if one.model == model]
        values = {k: [one.raw if raw else one.score for one in own if k in ("", one.task.category)]
                  for k in ("", *KINDS)}  # fmt: skip
        overall = float(np.mean(values[""]))
        for kind, some in values.items():
            mean = (sum(some) + 10 * overall) / (len(some) + 10)
            by_kind.setdefault(kind, {})[model] = mean
    return {kind: max(means, key=lambda name: means[name]) for kind, means in by_kind.items()}


def regret(choice: Mapping[str, str], true: Mapping[tuple[str, str], float]) -> tuple[float, float]:
    """How much is lost by (the one best model chosen, the best model of each kind chosen)."""
    best = max(true[name, ""] for name in BY_NAME)
    kinds = [max(true[n, kind] for n in BY_NAME) - true[choice[kind], kind] for kind in KINDS]
    return best - true[choice[""], ""], float(np.mean(kinds))


def study(runs: int, usd: float, leaning: Leaning, n: int, *, stops: bool) -> dict[str, Any]:
    true = truth(leaning.sharpness, leaning.band)
    rows: dict[str, list[float]] = {name: [] for name in (
        "spent", "prompts", "calls", "regret_one", "regret_kinds", "covered", "error", "error_raw",
        "regret_one_raw", "regret_kinds_raw",
    )}  # fmt: skip
    for run in range(runs):
        tasks = tasks_of(run, n)
        journal = played(models_of(run), tasks, leaning, usd, stops=stops)
        by_id = {task.id: task for task in tasks}
        results = results_of(plan_of(tasks), by_id, journal)  # type: ignore[arg-type]
        one, kinds = regret(chosen(results), true)
        one_raw, kinds_raw = regret(chosen(results, raw=True), true)
        others = [row for row in results.rows if row.model != REFERENCE]
        for row in others:
            standing = row.scores["judged"]
            goal = true[row.model, ""]
            rows["covered"].append(float(standing.ci95[0] <= goal <= standing.ci95[1]))
            rows["error"].append(standing.score - goal)
            rows["error_raw"].append((row.raw or 0.0) - goal)
        for name, value in (
            ("spent", journal.spent), ("prompts", journal.n_prompts), ("calls", len(journal.done)),
            ("regret_one", one), ("regret_kinds", kinds), ("regret_one_raw", one_raw),
            ("regret_kinds_raw", kinds_raw),
        ):  # fmt: skip
            rows[name].append(value)
    found = {name: float(np.mean(values)) for name, values in rows.items()}
    found["error"] = float(np.sqrt(np.mean(np.square(rows["error"]))))
    found["error_raw"] = float(np.sqrt(np.mean(np.square(rows["error_raw"]))))
    found["regret_kinds_se"] = float(np.std(rows["regret_kinds"]) / math.sqrt(runs))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--length", type=float, default=1.0)
    parser.add_argument("--position", type=float, default=0.5)
    args = parser.parse_args()
    leaning = Leaning(length=args.length, position=args.position)
    true = truth(leaning.sharpness, leaning.band)
    print("true scores", {name: round(true[name, ""], 3) for name in BY_NAME})
    before = max(BY_NAME, key=lambda name: BY_NAME[name].output_usd)
    print("regret of the dearest model", regret(dict.fromkeys(("", *KINDS), before), true))
    for usd, stops in ((1.0, True), (2.0, True), (5.0, True), (1e9, False)):
        found = study(args.runs, usd, leaning, args.prompts, stops=stops)
        shown = " ".join(f"{name}={value:.4g}" for name, value in found.items())
        print(f"usd={usd:g} stops={stops}: {shown}", flush=True)


if __name__ == "__main__":
    main()
