"""How well lengths, and with them costs, are predicted for each set, and whether thinking needs a
log-normal of its own.

    python studies/study_lengths.py --data DATA [--checkpoint bundled]

First table: the checkpoint on the validation part. R2 is of log output tokens (thinking included)
around their mean, and around each model's own training mean ("within"); "80%" is the share of
answers within the predicted interval; cost is the predicted over the actual total, of all answers
and per model (10th, 50th and 90th percentile), at each model's price: prices.csv, or what its
answers in training cost per token; with its interval over prompts.

Second table: models of ctala_es with 50 answers that say how much of them was thinking. On the
checkpoint's trunk one ridge regression of log tokens, leave-one-out, against two, of the thinking
and of the rest, whose means are added.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from p2l_model.analysis.scored import PromptReader
from p2l_model.data.model_names import bare, canonical, columns
from p2l_model.fitting.ridge import fit_ridge, lacking
from p2l_model.types import Conversation, FloatArray

LEAST = 50
Z80 = 1.2816


@dataclass(frozen=True, slots=True)
class Answers:
    """Of a file: tokens, thinking and USD (P, M), NaN where unknown, and features (P, H)."""

    hidden: FloatArray
    log_tokens: FloatArray | None
    tokens: FloatArray
    thinking: FloatArray
    usd: FloatArray


def read(path: Path, reader: PromptReader) -> Answers:
    """The answers of the checkpoint's models."""
    rows = pq.read_table(path).to_pylist()
    names = sorted({row["model"] for row in rows})
    known = dict(
        zip(names, columns([bare(canonical(n)) for n in names], reader.models), strict=True)
    )
    prompts = {text: at for at, text in enumerate(dict.fromkeys(row["prompt"] for row in rows))}
    features = reader.features([Conversation((text,)) for text in prompts])
    shape = len(prompts), len(reader.models)
    tokens, thinking, usd = (np.full(shape, np.nan) for _ in range(3))
    for row in rows:
        cell = prompts[row["prompt"]], known[row["model"]]
        if cell[1] < 0 or not row.get("output_tokens"):
            continue
        tokens[cell] = row["output_tokens"]
        thinking[cell] = number(row, "reasoning_tokens")
        usd[cell] = number(row, "cost_usd")
    heads = reader.checkpoint.heads
    return Answers(heads.hidden(features), heads.log_tokens(features), tokens, thinking, usd)


def number(row: dict[str, Any], name: str) -> float:
    """NaN where it is not known."""
    value = row.get(name)
    return float("nan") if value is None else float(value)


def prices(path: Path, train: Answers, names: Sequence[str]) -> FloatArray:
    """USD per output token (M,): of the list, else as paid in training, else NaN."""
    with path.open(encoding="utf-8") as file:
        listed = {
            row["model"]: float(row["output_usd_per_mtok"]) / 1e6 for row in csv.DictReader(file)
        }
    at = dict(zip(listed, columns([bare(canonical(n)) for n in listed], names), strict=True))
    found = np.full(len(names), np.nan)
    for name, column in at.items():
        if column >= 0:
            found[column] = listed[name]
    paid = ~np.isnan(train.usd) & ~np.isnan(train.tokens)
    usd = np.where(paid, train.usd, 0.0).sum(axis=0)
    n = np.where(paid, train.tokens, 0.0).sum(axis=0)
    return np.where((n > 0) & (usd > 0), usd / np.maximum(n, 1.0), found)


def calibration(train: Answers, held: Answers, reader: PromptReader, price: FloatArray) -> str:
    """The line of the first table."""
    sigma = np.array(
        [np.nan if s is None else s for s in reader.checkpoint.manifest.length_sigma or []]
    )
    assert held.log_tokens is not None
    known = ~np.isnan(held.tokens) & ~np.isnan(sigma) & (~np.isnan(train.tokens)).any(axis=0)
    truth, mean = np.log(held.tokens[known]), held.log_tokens[known]
    with np.errstate(invalid="ignore"):
        own = np.nanmean(np.log(train.tokens), axis=0)
    spread = np.broadcast_to(sigma, known.shape)
    inside = np.abs(truth - mean) < Z80 * spread[known]
    error = ((truth - mean) ** 2).sum()
    r2 = 1 - error / ((truth - truth.mean()) ** 2).sum()
    base = ((truth - np.broadcast_to(own, known.shape)[known]) ** 2).sum()
    paid = known & ~np.isnan(price)
    cost = np.where(paid, np.exp(held.log_tokens + spread**2 / 2) * price, 0.0)
    actual = np.where(paid, held.tokens * price, 0.0)
    of_model = actual.sum(axis=0) > 0
    ratio = cost.sum(axis=0)[of_model] / actual.sum(axis=0)[of_model]
    low, middle, high = np.quantile(ratio, [0.1, 0.5, 0.9])
    drawn = np.random.default_rng(0).multinomial(len(cost), np.full(len(cost), 1 / len(cost)), 2000)
    totals = (drawn @ cost.sum(axis=1)) / np.maximum(drawn @ actual.sum(axis=1), 1e-300)
    return (
        f"{int(known.sum())} answers, {int(known.any(axis=0).sum())} models: R2 {r2:.2f}, within "
        f"{1 - error / base:.2f}, 80% {inside.mean():.2f}; cost {cost.sum() / actual.sum():.2f} "
        f"{np.round(np.quantile(totals, [0.025, 0.975]), 2)} "
        f"(models {low:.2f} {middle:.2f} {high:.2f})"
    )


def thinking(train: Answers) -> list[str]:
    """The lines of the second table."""
    both = (train.thinking > 0) & (train.thinking < train.tokens)
    columns_ = np.flatnonzero(both.sum(axis=0) >= LEAST)
    kept = both[:, columns_]
    total = np.where(kept, train.tokens[:, columns_], np.nan)
    inner = np.where(kept, train.thinking[:, columns_], np.nan)
    parts = {"one": [total], "two": [inner, total - inner]}
    lines = []
    for name, summands in parts.items():
        fits = [fit_ridge(train.hidden, np.log(part)).left_out for part in summands]
        means = sum(
            np.exp(fit) * lacking(np.log(part), fit)
            for fit, part in zip(fits, summands, strict=True)
        )
        truth, predicted = np.log(total[kept]), np.log(np.asarray(means)[kept])
        predicted = predicted - (predicted - truth).mean()
        r2 = 1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
        # what a mean in tokens is off by, relative to the mean
        off = np.nanmean(np.abs(np.asarray(means) - total)) / np.nanmean(total)
        lines.append(
            f"{name}: {kept.shape[1]} models, {int(kept.sum())} answers: R2 of log tokens "
            f"{r2:.3f}, mean error of tokens {off:.3f}"
        )
    own = np.nanmean(np.log(inner / (total - inner)), axis=0)
    lines.append(f"thinking over the rest, per model: {np.round(np.exp(own), 2)}")
    return lines


def main() -> None:
    """One line per set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", default="bundled")
    args = parser.parse_args()
    reader = PromptReader.load(args.checkpoint, "auto")
    for name in ("zeroeval", "ctala_es"):
        train, held = (
            read(args.data / name / f"scores.{part}.parquet", reader)
            for part in ("train", "validation")
        )
        price = prices(args.data / "prices.csv", train, reader.models)
        print(f"{name}: {calibration(train, held, reader, price)}", flush=True)
        if name == "ctala_es":
            print("\n".join(thinking(train)), flush=True)


if __name__ == "__main__":
    main()
