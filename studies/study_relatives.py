"""How much of a model's per-prompt deviation its nearest relative's foretells, in a checkpoint.

A model without a column borrows its nearest relative's, with all that this says of a prompt beside
its difficulty. Here every column plays the model without one: its deviation on each prompt is
regressed, through the origin, on that of its nearest relative by name. The slope is estimated on
all families but one, and the squared error it leaves is summed over the family that was left out.

    python studies/study_relatives.py PROMPTS.parquet... --prompts 500
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
from pyarrow import parquet

from p2l_model.analysis.predictor import Predictor
from p2l_model.types import Conversation
from server.gateway.places import Places, _kind_of

N_BEST = 40
N_RESAMPLES = 1000


def prompts_in(files: list[Path], n: int) -> list[str]:
    """n prompts, as many of each file. files: tables with a column `prompt`."""
    found: list[str] = []
    for file in files:
        column = parquet.read_table(file, columns=["prompt"])["prompt"].to_pylist()
        unique = sorted(set(filter(None, column)))
        random.Random(1).shuffle(unique)
        found += unique[: n // len(files)]
    return found


def deviations(predictor: Predictor, prompts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Deviations (P, C) from difficulty, and the usual coefficients (C,)."""
    usual = np.asarray(predictor._reader.checkpoint.manifest.marginal.coefficients, dtype=float)
    reader = predictor._reader
    batches = [prompts[k : k + 50] for k in range(0, len(prompts), 50)]
    said = np.concatenate(
        [
            reader.outputs(reader.features([Conversation((one,)) for one in some])).coefficients
            for some in batches
        ]
    )
    apart = said - usual
    best = np.argsort(-usual, kind="stable")[:N_BEST]
    return apart - apart[:, best].mean(axis=1, keepdims=True), usual


def relative_of(places: Places, name: str) -> str | None:
    """The nearest relative among the other columns."""
    wanted = [pair for pair in places._kin if pair[0] != name]
    kept, places._kin = places._kin, wanted
    try:
        return places._nearest(name)
    finally:
        places._kin = kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--prompts", type=int, default=500)
    args = parser.parse_args()
    predictor = Predictor.load()
    prompts = prompts_in(args.files, args.prompts)
    apart, _ = deviations(predictor, prompts)
    names = predictor.models
    places = Places(names, predictor._reader.checkpoint.marginal)
    at = {name: k for k, name in enumerate(names)}
    pairs = [(at[n], at[r], _kind_of(n).house) for n in names if (r := relative_of(places, n))]
    own, other, house = map(np.array, zip(*pairs, strict=True))
    moments = np.stack([(apart[:, other] * apart[:, own]).sum(0), (apart[:, other] ** 2).sum(0),
                        (apart[:, own] ** 2).sum(0)])  # fmt: skip
    report(moments, house)


def report(moments: np.ndarray, house: np.ndarray) -> None:
    families = sorted(set(house.tolist()))
    sums = np.stack([moments[:, house == one].sum(axis=1) for one in families])
    slope = sums[:, 0].sum() / sums[:, 1].sum()
    chance = np.random.default_rng(1)
    drawn = chance.integers(len(families), size=(N_RESAMPLES, len(families)))
    slopes = sums[drawn, 0].sum(1) / sums[drawn, 1].sum(1)
    low, high = np.quantile(slopes, (0.025, 0.975))
    print(f"{len(house)} models with a relative, {len(families)} families")
    print(f"slope {slope:.3f} [{low:.3f}, {high:.3f}]")
    total = sums[:, 2].sum()
    for label, fixed in (
        ("nothing (0)", 0.0),
        ("all of it (1)", 1.0),
        ("slope of the others", None),
    ):
        rest = sums.sum(axis=0) - sums
        by = rest[:, 0] / rest[:, 1] if fixed is None else np.full(len(families), fixed)
        left = (sums[:, 2] - 2 * by * sums[:, 0] + by**2 * sums[:, 1]).sum() / total
        print(f"{label}: {left:.3f} of the squared deviation is left")


if __name__ == "__main__":
    main()
