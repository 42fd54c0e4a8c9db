"""What a run has found, from its journal: answers, grades and verdicts, and who stands where."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from router.catalog import ModelCard
from server.judging.judge import combined, verdict_of, winner_of
from server.offline.learn.bias import Bias, Verdict, measured
from server.offline.learn.buyer import Bought
from server.offline.learn.journal import Journal, Want, json_line, write_whole
from server.offline.learn.plan import RunPlan
from server.offline.learn.run import bought_of
from server.offline.learn.standing import Standing, standing
from server.offline.learn.tasks import Task

CHECKED: Final = "checked"
JUDGED: Final = "judged"


@dataclass(frozen=True, slots=True)
class Grade:
    """The grade of one answer. kind: CHECKED or JUDGED. source: who gave it; grades of different
    sources are on different scales. raw: the score before the length was taken out."""

    task: Task
    model: str
    kind: str
    source: str
    score: float
    raw: float
    winner: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A model in the table. scores: by kind. raw: its judged mean before the length was taken out.
    n_answers: whole ones; n_cut: those that were cut at their limit or empty. mean_usd: the mean
    cost of an answer. judge: who judged it."""

    model: str
    scores: Mapping[str, Standing]
    raw: float | None
    n_answers: int
    n_cut: int
    mean_usd: Decimal | None
    latency_s: float | None
    judge: str | None


@dataclass(frozen=True, slots=True)
class Results:
    """What a run has found. answers: by what was asked. n_lost: calls that may have been paid and
    brought nothing. n_unread: judges' answers without a verdict."""

    plan: RunPlan
    answers: Mapping[Want, Bought] = field(repr=False)
    grades: tuple[Grade, ...] = field(repr=False)
    biases: tuple[Bias, ...]
    rows: tuple[Row, ...]
    request_ids: Mapping[Want, str] = field(repr=False)
    n_lost: int
    n_unread: int


def judged_by(plan: RunPlan, judge: str) -> str:
    """The source of a judge's grades: it, what it compared with, and the version of its
    instruction."""
    reference = "file" if plan.reference is None else plan.reference
    return f"judge:{judge}>{reference}:{plan.judge_version}"


def results_of(plan: RunPlan, tasks: Mapping[str, Task], journal: Journal) -> Results:
    """Computes the results of what the journal holds so far."""
    lines = {want: line for want, line in journal.done.items() if line["do"] == "answer"}
    bought = {want: bought_of(line) for want, line in lines.items()}
    verdicts = list(_verdicts(plan, tasks, bought))
    judges = sorted({one.judge for one in verdicts})
    biases = {judge: measured([one for one in verdicts if one.judge == judge]) for judge in judges}
    grades = (
        *_checked(plan, tasks, journal),
        *_judged(plan, tasks, verdicts, biases),
        *_references(plan, tasks, bought),
    )
    return Results(
        plan=plan,
        answers=bought,
        grades=grades,
        biases=tuple(biases.values()),
        rows=_rows(plan, bought, grades, biases),
        request_ids={want: line["request_id"] for want, line in lines.items()},
        n_lost=sum(line["do"] == "lose" for line in journal.done.values()),
        n_unread=sum(
            not want.is_answer and verdict_of(one.text) is None for want, one in bought.items()
        ),
    )


def _verdicts(
    plan: RunPlan, tasks: Mapping[str, Task], bought: Mapping[Want, Bought]
) -> Iterator[Verdict]:
    for want, answer in bought.items():
        if want.subject is None or want.prompt not in tasks:
            continue
        value = verdict_of(answer.text)
        reference = _reference_text(plan, tasks[want.prompt], bought)
        judged = bought.get(Want(want.prompt, want.subject))
        if value is None or reference is None or judged is None:
            continue
        yield Verdict(
            want.prompt,
            want.subject,
            want.model,
            len(judged.text) - len(reference),
            want.first,
            value if want.first else 1 - value,
        )


def _reference_text(plan: RunPlan, task: Task, bought: Mapping[Want, Bought]) -> str | None:
    if task.reference is not None or plan.reference is None:
        return task.reference
    answer = bought.get(Want(task.id, plan.reference))
    return None if answer is None else answer.text


def _checked(plan: RunPlan, tasks: Mapping[str, Task], journal: Journal) -> Iterator[Grade]:
    for want, score in journal.grades.items():
        task = tasks.get(want.prompt)
        if task is not None and task.check is not None and want.model in plan.models:
            yield Grade(task, want.model, CHECKED, f"checker:{task.check.kind}", score, score)


def _judged(
    plan: RunPlan,
    tasks: Mapping[str, Task],
    verdicts: Iterable[Verdict],
    biases: Mapping[str, Bias],
) -> Iterator[Grade]:
    pairs: dict[tuple[str, str], dict[bool, Verdict]] = {}
    for one in verdicts:
        pairs.setdefault((one.prompt, one.model), {})[one.first] = one
    for (prompt, model), pair in pairs.items():
        if len(pair) < 2:
            continue  # in one order only, the place of the answer would count
        raw = combined(pair[True].value, pair[False].value)
        bias = biases[pair[True].judge]
        score = bias.without_length(model, pair[True].longer, raw)
        source = judged_by(plan, bias.judge)
        yield Grade(tasks[prompt], model, JUDGED, source, score, raw, winner_of(raw))


def _references(
    plan: RunPlan, tasks: Mapping[str, Task], bought: Mapping[Want, Bought]
) -> Iterator[Grade]:
    """The reference ties with itself. Its grades are those of the judge that judged most models."""
    if plan.reference is None or not plan.judges:
        return
    judge = statistics.mode(plan.judges.values())
    for want, answer in bought.items():
        task = tasks.get(want.prompt)
        if want != Want(want.prompt, plan.reference) or task is None or not answer.is_whole:
            continue
        if task.check is None and task.reference is None:
            yield Grade(task, plan.reference, JUDGED, judged_by(plan, judge), 0.5, 0.5)


def _rows(
    plan: RunPlan,
    bought: Mapping[Want, Bought],
    grades: Iterable[Grade],
    biases: Mapping[str, Bias],
) -> tuple[Row, ...]:
    graded = list(grades)
    rows = [_row(plan, model, bought, graded, biases) for model in plan.models]
    return tuple(sorted(rows, key=_best_first))


def _row(
    plan: RunPlan,
    model: str,
    bought: Mapping[Want, Bought],
    grades: Iterable[Grade],
    biases: Mapping[str, Bias],
) -> Row:
    own = [one for one in grades if one.model == model]
    answers = [one for want, one in bought.items() if want.is_answer and want.model == model]
    whole = [one for one in answers if one.is_whole]
    raw = [one.raw for one in own if one.kind == JUDGED]
    by_kind = {kind: [one.score for one in own if one.kind == kind] for kind in (CHECKED, JUDGED)}
    scores = {kind: standing(model, found) for kind, found in by_kind.items() if found}
    if JUDGED in scores:
        scores[JUDGED] = _judged_standing(plan, scores[JUDGED], biases)
    return Row(
        model=model,
        scores=scores,
        raw=statistics.fmean(raw) if raw else None,
        n_answers=len(whole),
        n_cut=len(answers) - len(whole),
        mean_usd=sum((one.cost_usd for one in answers), Decimal(0)) / len(answers)
        if answers
        else None,
        latency_s=statistics.median(one.latency_s for one in answers) if answers else None,
        judge=plan.judges.get(model),
    )


def _judged_standing(plan: RunPlan, resampled: Standing, biases: Mapping[str, Bias]) -> Standing:
    model, score = resampled.model, resampled.score
    if model == plan.reference:
        return Standing(model, resampled.n, 0.5, (0.5, 0.5))  # by definition
    bias = biases[plan.judges[model]]
    return Standing(model, resampled.n, score, bias.interval(model, score))


def _best_first(row: Row) -> tuple[float, str]:
    means = [one.score for one in row.scores.values()]
    return (-statistics.fmean(means) if means else 1.0), row.model


def write(
    results: Results, tasks: Mapping[str, Task], cards: Mapping[str, ModelCard], folder: Path
) -> None:
    """Writes answers.jsonl, grades.jsonl, verdicts.jsonl and prices.csv. Raises DataError."""
    answers = _answer_lines(results, tasks, cards)
    grades = (_grade_line(one, results, cards) for one in results.grades)
    verdicts = (_verdict_line(one, results, cards) for one in results.grades)
    write_whole(folder / "answers.jsonl", _lines(answers))
    write_whole(folder / "grades.jsonl", _lines(grades))
    write_whole(folder / "verdicts.jsonl", _lines(one for one in verdicts if one is not None))
    write_whole(folder / "prices.csv", _prices(results.plan, cards))


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(map(json_line, rows))


def _answer_lines(
    results: Results, tasks: Mapping[str, Task], cards: Mapping[str, ModelCard]
) -> Iterator[dict[str, Any]]:
    for want, answer in results.answers.items():
        if want.is_answer and want.prompt in tasks:
            yield {
                **_about(tasks[want.prompt], want.model, cards),
                **_measured(answer),
                "answer": answer.text,
                "reference": tasks[want.prompt].reference,
                "finish_reason": answer.finish_reason,
                "no_response": not answer.is_whole,
                "request_id": results.request_ids[want],
            }


def _grade_line(grade: Grade, results: Results, cards: Mapping[str, ModelCard]) -> dict[str, Any]:
    answer = results.answers.get(Want(grade.task.id, grade.model))
    return {
        **_about(grade.task, grade.model, cards),
        "score": round(grade.score, 6),
        "score_raw": grade.raw,
        "judge": grade.source,
        "judge_version": results.plan.judge_version if grade.kind == JUDGED else None,
        **({} if answer is None else _measured(answer)),
    }


def _verdict_line(
    grade: Grade, results: Results, cards: Mapping[str, ModelCard]
) -> dict[str, Any] | None:
    """A comparison of a model with the reference model, as a vote."""
    reference = results.plan.reference
    if grade.winner is None or reference is None or grade.task.reference is not None:
        return None
    names = [cards[name].leaderboard_name for name in (grade.model, reference)]
    if names[0] == names[1]:
        return None
    return {
        "prompt": list(grade.task.turns),
        "prompt_id": grade.task.id,
        "model_a": names[0],
        "model_b": names[1],
        "winner": grade.winner,
        "category": grade.task.category,
        "judge": grade.source,
        "judge_version": results.plan.judge_version,
    }


def _about(task: Task, model: str, cards: Mapping[str, ModelCard]) -> dict[str, Any]:
    return {
        "prompt": list(task.turns),
        "prompt_id": task.id,
        "category": task.category,
        "model": cards[model].leaderboard_name,
        "catalogue_name": model,
    }


def _measured(answer: Bought) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_usd": float(answer.cost_usd),
        "latency_s": answer.latency_s,
    }


def _prices(plan: RunPlan, cards: Mapping[str, ModelCard]) -> str:
    """The list prices of the models, in the form that `simulate --prices` reads."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "input_usd_per_mtok", "output_usd_per_mtok"])
    for name in plan.models:
        prices = cards[name].prices
        if prices is not None:
            usd = prices.input_usd_per_mtok, prices.output_usd_per_mtok
            writer.writerow([cards[name].leaderboard_name, *(f"{one:f}" for one in usd)])
    return out.getvalue()
