"""How often the intervals of the report hold the truth.

    python studies/study_report.py [--runs 200] [--prompts 200]

Worlds are drawn whose truth is known: four models between 0.3 and 15 dollars per 1,000 requests,
whose chances of a good answer depend on how hard the prompt is, and a router that sees the
difficulty with noise. Each run draws prompts and grades, makes the report's findings, and compares
its intervals with the saving on 200,000 other prompts. The baselines: the dearest model, named
beforehand, and the model that scores best in the run, in which chance has a part.
"""

from __future__ import annotations

import argparse

import numpy as np

from p2l_model.types import Conversation
from server.offline.report.findings import Findings, find
from server.offline.report.measured import measured
from server.offline.simulate.curves import bootstrap_weights, curve_of
from server.offline.simulate.predict import Belief
from server.offline.simulate.table import ScoreTable

MODELS = ("luna", "flash", "sol", "opus")
SKILL = np.array([-0.4, 0.6, 1.4, 1.6])
USD = np.array([0.0003, 0.001, 0.004, 0.015])
N_TRUTH = 200_000
N_RESAMPLES = 300


def world(n: int, chance: np.random.Generator) -> tuple[ScoreTable, Belief]:
    """n prompts with grades, and what the router believes of them."""
    hard = 1.3 * chance.normal(size=(n, 1))
    score = (chance.random((n, 4)) < _good(SKILL - hard)).astype(float)
    cost = USD * np.exp(0.4 * chance.normal(size=(n, 4)) - 0.08)
    seen = hard + 0.8 * chance.normal(size=(n, 1))
    table = ScoreTable(
        tuple(Conversation((str(k),)) for k in range(n))
        if n < N_TRUTH
        else (Conversation(("",)),) * n,
        MODELS,
        score,
        cost,
        np.full(n, 10.0),
        np.full(n, ""),
    )
    return table, Belief(_good(SKILL - 0.7 * seen), np.tile(USD, (n, 1)))


def _good(strength: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1.0 / (1.0 + np.exp(-strength))
    return found


def findings(n: int, seed: int, against: str | None, n_resamples: int = N_RESAMPLES) -> Findings:
    """The findings of one world."""
    table, belief = world(n, np.random.default_rng(seed))
    weights = bootstrap_weights(n, seed, n_resamples)
    return find(measured(table, curve_of(table, belief), weights), against)


def main() -> None:
    """Prints the coverage of each interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=200)
    args = parser.parse_args()
    truth = {name: findings(N_TRUTH, 10_000, name, 2) for name in MODELS}
    for name in ("opus", None):
        held = np.zeros((args.runs, 3))
        error = np.zeros(args.runs)
        for run in range(args.runs):
            found = findings(args.prompts, run, name)
            true = truth[found.baseline.model]
            pairs = (
                (found.pays, true.pays),
                (found.saved, true.saved),
                (found.baseline.score, true.baseline.score),
            )
            held[run] = [one.low <= other.value <= one.high for one, other in pairs]
            error[run] = found.saved.value - true.saved.value
        paid, saved, quality = held.mean(axis=0)
        print(
            f"against {name or 'the best of the run'}: holds what is paid {paid:.3f}, the saving "
            f"{saved:.3f}, the quality {quality:.3f}; mean error of the saving {error.mean():+.3f}"
        )
    print({name: round(one.saved.value, 3) for name, one in truth.items()})


if __name__ == "__main__":
    main()
