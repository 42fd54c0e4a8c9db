"""Every family on every set, each in its own likelihood: is a leaderboard per prompt better than
one for all prompts?

    python studies/study_families.py DATA

Trained on a set's train part alone. What is chosen (a trunk's size, the epoch, the calibration) is
chosen on its validation part, which is also what is reported, so the figures of sets of few prompts
flatter; the start of each trunk is the marginal leaderboard itself, which is among what is chosen
from. Families without ties take a tie as half a win for each; those with one kind of tie take both
kinds as that one; alpaca_eval's labels are the judge's probabilities. Intervals resample prompts.
Features are kept in the folder of --work.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.data.soft_labels import balanced
from p2l_model.evaluation.metrics import predict, prompt_bootstrap, source_mean
from p2l_model.evaluation.report import constant_outputs
from p2l_model.fitting.config import TrainConfig, TrunkConfig
from p2l_model.fitting.hidden_layer import TrunkFit, joined
from p2l_model.training.calibrate import calibrated, fit_calibration
from p2l_model.training.prepare import Prepared, prepare
from p2l_model.types import FloatArray, PreferenceFamily
from server.commands.datasets import data_files, validation_twins

CLEAR = ("zeroeval", "mmlu_pair", "routerbench", "seven_models", "judge_rewards")
FEW = ("alpaca_eval", "arena_bench_v1", "pandalm")
SIZES = (
    TrunkConfig(members=2, batch_prompts=64),
    TrunkConfig(members=2, batch_prompts=64, hidden=32, dropout=0.5, weight_decay=1.0),
)


@dataclass(frozen=True)
class Judged:
    """A set's validation votes: their losses less the marginal's, and on which prompt each is."""

    marginal: float
    ours: float
    difference: FloatArray
    prompt: FloatArray

    def interval(self) -> list[float]:
        """95%, over prompts."""
        return prompt_bootstrap(self.difference, np.ones_like(self.difference), self.prompt, 0)


def quiet(stage: str, done: float, total: float, note: str = "") -> None:
    """No progress: a line per result is enough."""


def members(config: TrainConfig, size: TrunkConfig, data: Prepared) -> Heads:
    """A trunk of the size, from the epochs that validation likes best."""
    votes = balanced(data.split.train, config.balance)
    fit = TrunkFit(data.x_train, votes, config.family, size, data.marginal, None)

    def judge(heads: Heads) -> float:
        return loss(config, heads, data)

    return joined([fit.run(seed, judge, lambda epoch: None) for seed in range(size.members)])


def loss(config: TrainConfig, heads: Heads, data: Prepared) -> float:
    """What is chosen by."""
    votes = data.split.validation
    return source_mean(predict(config.family, votes, heads.outputs(data.x_validation, 1.0)).loss,
                       votes)  # fmt: skip


def study(config: TrainConfig, folder: Path, work: Path) -> Judged:
    """One family on one set."""
    paths = data_files([str(folder)], "train"), validation_twins([str(folder)])
    data = prepare(config, *paths, work, quiet, (0.0, 1.0))
    votes: VoteTable = data.split.validation
    tried = [members(config, size, data) for size in SIZES]
    best = min(tried, key=lambda heads: loss(config, heads, data))
    calibration = fit_calibration(config.family, best, votes, data.x_validation)
    heads = calibrated(best, calibration)
    outputs = heads.outputs(data.x_validation, calibration.temperature)
    ours = predict(config.family, votes, outputs).loss
    start = data.marginal
    flat = constant_outputs(start.bias.tolist(), start.eta_bias, start.gamma_bias, votes)
    marginal = predict(config.family, votes, flat).loss
    return Judged(marginal.mean(), ours.mean(), ours - marginal, votes.prompt)


def union(parts: list[Judged]) -> Judged:
    """All votes of several sets, no prompt of one taken for a prompt of another."""
    shifts = np.cumsum([0, *(part.prompt.max() + 1 for part in parts)])
    sizes = np.array([part.difference.size for part in parts])
    return Judged(
        float(np.average([part.marginal for part in parts], weights=sizes)),
        float(np.average([part.ours for part in parts], weights=sizes)),
        np.concatenate([part.difference for part in parts]),
        np.concatenate([part.prompt + shift for part, shift in zip(parts, shifts, strict=False)]),
    )


def line(family: str, name: str, found: Judged) -> str:
    """A row of the table."""
    low, high = found.interval()
    n_prompts = np.unique(found.prompt).size
    return (f"| {family} | {name} ({n_prompts}) | {found.marginal:.4f} | {found.ours:.4f} | "
            f"{found.difference.mean():+.4f} [{low:+.4f}, {high:+.4f}] |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/families"))
    parser.add_argument("--families", nargs="+", default=[family.value for family in
                                                          PreferenceFamily])  # fmt: skip
    parser.add_argument("--sets", nargs="+", default=[*CLEAR, *FEW])
    args = parser.parse_args()
    for family in args.families:
        config = TrainConfig(
            family=PreferenceFamily(family), feature_layers=[2, 4], pooling="mean-max", balance=0.0
        )
        found = {}
        for name in args.sets:
            found[name] = study(config, args.data / name, args.work / name)
            print(line(family, name, found[name]), flush=True)
        few = [found[name] for name in FEW if name in found]
        if len(few) > 1:
            print(line(family, "few, union", union(few)), flush=True)


if __name__ == "__main__":
    main()
