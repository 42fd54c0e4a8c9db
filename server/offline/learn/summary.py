"""What a run has found, in JSON and in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.offline.learn.bias import Bias
from server.offline.learn.results import Results, Row
from server.offline.learn.start import Ended, stop_reason


def summary_of(ended: Ended, found: Results, folder: Path, applied: int | None) -> dict[str, Any]:
    """The summary as one JSON document. applied: how many grades were handed to the gateway."""
    return {
        "run": ended.plan.run,
        "seed": ended.plan.seed,
        "spent_usd": float(ended.spent_usd),
        "stopped": ended.outcome.stopped,
        "reference": ended.plan.reference,
        "judge_version": ended.plan.judge_version,
        "models": [_row(row) for row in found.rows],
        "biases": [bias.to_json() for bias in found.biases],
        "settled": dict(ended.outcome.settled),
        "failures": {name: dict(codes) for name, codes in ended.outcome.failures.items()},
        "n_lost": found.n_lost,
        "n_stopped_checks": ended.outcome.n_stopped_checks,
        "n_unread": found.n_unread,
        "applied": applied,
        "out": str(folder),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "scores": {kind: one.to_json() for kind, one in row.scores.items()},
        "judged_raw": row.raw,
        "n_answers": row.n_answers,
        "n_cut": row.n_cut,
        "mean_cost_usd": None if row.mean_usd is None else float(row.mean_usd),
        "median_latency_s": row.latency_s,
        "judge": row.judge,
    }


def lines_of(ended: Ended, found: Results, folder: Path, applied: int | None) -> Iterator[str]:
    """The sentences below the table."""
    yield f"{ended.spent_usd:.6f} USD spent"
    why = stop_reason(ended.outcome)
    if why is not None:
        yield f"the run ended early: {why}"
    if ended.plan.reference is not None:
        yield (
            f"judged: 1 is better than {ended.plan.reference}, 0.5 as good, 0 worse, at equal "
            "lengths; on a scale of its own, not that of checked grades"
        )
    for bias in found.biases:
        yield from _bias_lines(bias)
    for model, n in ended.outcome.settled.items():
        yield f"the place of {model} was settled after {n} prompts"
    for model, codes in ended.outcome.failures.items():
        told = ", ".join(f"{code} {n} times" for code, n in codes.items())
        gone = "; it was left out from then on" if model in ended.outcome.dropped else ""
        yield f"{model} failed: {told}{gone}"
    n_cut = sum(row.n_cut for row in found.rows)
    if n_cut:
        yield f"{n_cut} answers were cut at their output limit, or empty, and are not graded"
    if ended.outcome.n_stopped_checks:
        yield f"{ended.outcome.n_stopped_checks} commands were stopped at a limit, and count as 0"
    if found.n_lost:
        yield f"{found.n_lost} calls may have been paid and brought nothing; none is made again"
    if found.n_unread:
        yield f"{found.n_unread} answers of judges held no verdict"
    if applied is not None:
        yield f"{applied} grades were stored for the gateway, which learns from them by itself"
    yield f"answers.jsonl, grades.jsonl, verdicts.jsonl and prices.csv are in {folder}"


def _bias_lines(bias: Bias) -> Iterator[str]:
    low, high = bias.length_ci95
    yield (
        f"judge {bias.judge}: bias of length {bias.length:+.2f} [{low:+.2f}, {high:+.2f}] in "
        f"log-odds, taken out of the grades"
    )
    low, high = bias.position_ci95
    flips = "none" if bias.flips is None else f"{bias.flips:.0%}"
    yield (
        f"judge {bias.judge}: bias of the first place {bias.position:+.2f} [{low:+.2f}, "
        f"{high:+.2f}]; {flips} of the pairs flipped with the order and count as ties"
    )
