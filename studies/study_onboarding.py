"""Leaves each of ten models out and adds it back from few votes: how much of a retrain is reached?

    python studies/study_onboarding.py DATA/zeroeval

Losses are on validation votes of the model left out. marginal: one leaderboard for all prompts,
fitted on all training votes; retrain: a trunk trained with all of them. The interval resamples
prompts. Features are kept in the folder of --work.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2l_model.checkpoint.heads import HeadOutputs, Heads
from p2l_model.checkpoint.manifest import Manifest
from p2l_model.data.files import VoteTable, load_votes
from p2l_model.evaluation.metrics import predict, source_mean
from p2l_model.fitting.config import TrainConfig, TrunkConfig
from p2l_model.fitting.hidden_layer import TrunkFit
from p2l_model.fitting.linear import FitOptions, fit_heads
from p2l_model.placement.place import bundled_placer
from p2l_model.training.onboard import (
    Answers,
    by_facts,
    fit_row,
    lone_grades,
    row_prior,
    view_of,
    with_row,
)
from p2l_model.training.prepare import prepare
from p2l_model.types import FloatArray

N_VOTES = (0, 20, 50, 200)
N_LEFT_OUT, N_DRAWS, N_RESAMPLES = 10, 3, 2000
TRUNK = TrunkConfig(members=1)
CONFIG = TrainConfig(feature_layers=[2, 4], balance=0.0, trunk=TRUNK)


@dataclass(frozen=True)
class Study:
    """The data, and what is the same for all models."""

    train: VoteTable
    held: VoteTable
    x_train: FloatArray
    x_held: FloatArray
    manifest: Manifest

    def trunk(self, votes: VoteTable) -> tuple[Heads, Manifest]:
        """Trained on these votes, stopped on validation's between the same models."""
        options = FitOptions(CONFIG.family, 1e-3, CONFIG.l2_common)
        marginal = fit_heads(np.zeros((len(votes.conversations), 0)), votes, options)
        usual = self.manifest.marginal.model_copy(update={"coefficients": marginal.bias.tolist()})
        update = {"models": list(votes.models), "marginal": usual, "temperature": 1.0}
        held = self.held.among(votes.models)

        def judge(heads: Heads) -> float:
            found = predict(CONFIG.family, held, heads.outputs(self.x_held, 1.0))
            return source_mean(found.loss, held)

        fit = TrunkFit(self.x_train, votes, CONFIG.family, TRUNK, marginal, None)
        return fit.run(0, judge, lambda epoch: None), self.manifest.model_copy(update=update)

    def losses(self, outputs: HeadOutputs, models: Sequence[str], name: str) -> FloatArray:
        """Of validation's votes on the model (N,)."""
        votes = self.on(self.held, name).among(models)
        return predict(CONFIG.family, votes, outputs).loss

    @staticmethod
    def on(votes: VoteTable, name: str) -> VoteTable:
        """The votes on the model."""
        index = votes.models.index(name)
        return votes.where((votes.model_a == index) | (votes.model_b == index))


def left_out(votes: VoteTable, marginal: Heads) -> list[str]:
    """Ten models, evenly spread over strength, that were compared often enough."""
    order = [votes.models[index] for index in np.argsort(marginal.bias)]
    many = [name for name in order if len(Study.on(votes, name)) > 1000]
    return [many[index] for index in np.linspace(0, len(many) - 1, N_LEFT_OUT).round().astype(int)]


def added_back(study: Study, heads: Heads, manifest: Manifest, name: str, n: int,
               seed: int) -> FloatArray:  # fmt: skip
    """Losses after n votes: at random, one per prompt at most."""
    mine = Study.on(study.train, name)
    order = np.random.default_rng([seed, n]).permutation(len(mine))
    _, first = np.unique(mine.prompt[order], return_index=True)
    chosen = np.sort(order[np.sort(first)[:n]])
    keep = np.zeros(len(mine), dtype=np.bool_)
    keep[chosen] = True
    place = by_facts(name, manifest, bundled_placer())
    row = row_prior(heads, usual=np.array(manifest.marginal.coefficients), place=place)
    if n > 0:
        votes = mine.where(keep).among([*manifest.models, name])
        answers = Answers(votes, lone_grades(name, (), (), manifest.models))
        row = fit_row(answers, CONFIG.family, view_of(heads, study.x_train, 1.0), row)
    grown = with_row(heads, row)
    return study.losses(grown.outputs(study.x_held, 1.0), [*manifest.models, name], name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/onboarding"))
    args = parser.parse_args()
    paths = [[args.data / f"comparisons.{part}.parquet"] for part in ("train", "validation")]
    told = lambda stage, done, total, note="": None  # noqa: E731
    data = prepare(CONFIG, paths[0], paths[1], args.work, told, (0.0, 1.0))
    study = Study(load_votes(paths[0]), data.split.validation, data.x_train, data.x_validation,
                  data.draft)  # fmt: skip
    marginal, (full, _) = data.marginal, study.trunk(study.train)
    n_held = study.x_held.shape[0]
    flat = HeadOutputs(np.tile(marginal.bias, (n_held, 1)),
                       np.full(n_held, marginal.eta_bias), np.zeros(n_held))  # fmt: skip
    losses: dict[str, list[FloatArray]] = {}
    prompts = []
    for name in left_out(study.train, marginal):
        without = tuple(model for model in study.train.models if model != name)
        heads, manifest = study.trunk(study.train.among(without))
        retrained = full.outputs(study.x_held, 1.0)
        found = {"marginal": study.losses(flat, study.train.models, name),
                 "retrain": study.losses(retrained, study.train.models, name)}  # fmt: skip
        for n in N_VOTES:
            draws = [added_back(study, heads, manifest, name, n, seed) for seed in range(N_DRAWS)]
            found[f"{n} votes"] = np.mean(draws, axis=0)
        for key, loss in found.items():
            losses.setdefault(key, []).append(loss)
        prompts.append(Study.on(study.held, name).prompt)
        print(f"{name:32}" + " ".join(f"{key} {loss.mean():.4f}" for key, loss in found.items()),
              flush=True)  # fmt: skip
    summarise({key: np.concatenate(parts) for key, parts in losses.items()},
              np.concatenate(prompts))  # fmt: skip


def summarise(losses: dict[str, FloatArray], prompt: FloatArray) -> None:
    """Means over all votes, and the share of the retrain's gain over the marginal."""
    _, index = np.unique(prompt, return_inverse=True)
    totals = {key: np.bincount(index, weights=loss) for key, loss in losses.items()}
    chance = np.random.default_rng(0)
    n = index.max() + 1
    counts = chance.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    for key, loss in losses.items():
        drawn = {one: counts @ total for one, total in totals.items()}
        shares = (drawn["marginal"] - drawn[key]) / (drawn["marginal"] - drawn["retrain"])
        gain = (losses["marginal"] - loss).mean() / (losses["marginal"] - losses["retrain"]).mean()
        low, high = np.quantile(shares, [0.025, 0.975])
        print(
            f"{key:12} {loss.mean():.4f}  share of the gain {gain:+.2f} [{low:+.2f}, {high:+.2f}]"
        )


if __name__ == "__main__":
    main()
