"""What does a local layer save on a whole set, where each prompt is read by a checkpoint that was
not trained on it?

    python studies/study_local_money.py --read DATA/a.parquet=CHECKPOINT [--read ...] --local 50 200

As `p2l-router simulate --local N`, but parts of one set may be read by different checkpoints: for a
kind of prompt that was trained on, each third by the checkpoint of the other two. Costs are then
predicted from the first principal components of the frozen features, which all of them share.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from p2l_model.analysis.scored import PromptReader
from p2l_model.placement.place import bundled_placer
from p2l_model.types import FloatArray
from server.offline.simulate.curves import Interval, bootstrap_weights
from server.offline.simulate.local_curves import (
    MEANS,
    OURS,
    Known,
    Splits,
    local_curves,
    read_known,
)
from server.offline.simulate.local_study import AREA, EQUAL, LEVELS, measured, measures_of
from server.offline.simulate.table import ScoreTable, load_prices, load_scores

COMPONENTS = 128
HIDDEN_REASONING = ("o1-mini-2024-09-12", "o1-preview-2024-09-12")


def read_parts(table: ScoreTable, parts: list[tuple[Path, str]]) -> Known:
    """What is known of the table's prompts, each read by the checkpoint of its part."""
    known: list[Known] = []
    place: dict[object, tuple[int, int]] = {}
    features: list[FloatArray] = []
    for path, checkpoint in parts:
        reader = PromptReader.load(checkpoint, "auto")
        inside = set(load_scores([path], {}).conversations)
        mine = table.of_prompts(np.array([c in inside for c in table.conversations]), "elsewhere")
        known.append(read_known(reader, mine, bundled_placer(), lambda done: None))
        features.append(reader.features(mine.conversations))
        place |= {c: (len(known) - 1, k) for k, c in enumerate(mine.conversations)}
    at = [place[c] for c in table.conversations]
    terms = tuple(known[part].terms[k] for part, k in at)
    if len(known) == 1:
        return replace(known[0], terms=terms)
    frozen = np.array([features[part][k] for part, k in at])
    u, s, _ = np.linalg.svd(frozen - frozen.mean(axis=0), full_matrices=False)
    return replace(known[0], terms=terms, hidden=u[:, :COMPONENTS] * s[:COMPONENTS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read", action="append", required=True, metavar="FILE=CHECKPOINT")
    parser.add_argument("--prices", type=Path)
    parser.add_argument("--local", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--coverage", type=float, default=0.95)
    parser.add_argument("--resamples", type=int, default=500)
    args = parser.parse_args()
    parts = [(Path(one.split("=")[0]), one.split("=")[1]) for one in args.read]
    prices = {} if args.prices is None else load_prices(args.prices)
    table = load_scores([path for path, _ in parts], prices)
    names = [name for name in table.models if name not in HIDDEN_REASONING]
    table = table.of_models(names, "hidden reasoning").complete(args.coverage)
    known = read_parts(table, parts)
    n = len(table.conversations)
    cost, score = (one.mean(axis=1) for one in (table.cost_usd.T, table.score.T))
    best = int(np.argmax(score))
    print(
        f"{n} prompts, {len(table.models)} models; best {table.models[best]} {score[best]:.3f}",
        end="",
    )
    print(f" at {cost[best]:.3g} USD", flush=True)
    weights, measures = bootstrap_weights(n, 0, args.resamples), measures_of(table)
    for n_answers in args.local:
        curves = local_curves(table, known, Splits(n_answers, args.folds, args.seeds))
        for name, of_seeds in curves.items():
            show(n_answers, name, measured(of_seeds, measures, weights))
        show(n_answers, "p2l - means", measured(curves[OURS], measures, weights, curves[MEANS]))


def show(n_answers: int, name: str, found: Mapping[str, Interval]) -> None:
    area = found[AREA]
    saved = (found[level] for level in (EQUAL, *LEVELS))
    told = " | ".join(f"{100 * s[0]:.0f} [{100 * s[1]:.0f}, {100 * s[2]:.0f}]" for s in saved)
    told = f"{area[0]:+.4f} [{area[1]:+.4f}, {area[2]:+.4f}] | {told}"
    print(f"| {n_answers} | {name} | {told} |", flush=True)


if __name__ == "__main__":
    main()
