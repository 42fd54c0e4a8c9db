"""Measures how the loss falls with the number of votes and with the size of the model.

Samples are drawn by prompt, with all votes of each, because the prompt is the unit that
generalises.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.errors import DataError
from p2l_model.evaluation.calibration import require_matplotlib
from p2l_model.evaluation.metrics import predict
from p2l_model.evaluation.power_law import PowerLaw, fit_power_law
from p2l_model.fitting.config import TrainConfig, TrunkConfig
from p2l_model.training.prepare import Prepared, Split, fit_marginal, prepare
from p2l_model.training.run_log import Reporter
from p2l_model.training.train import choose

_DECADES: Final = 2.0
_MIN_PROMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Point:
    """One size: its number of prompts, votes and parameters, and the validation log-loss per
    seed."""

    n_prompts: int
    n_votes: int
    n_parameters: int
    losses: tuple[float, ...]


def scaling(
    config: TrainConfig,
    train_paths: Sequence[Path],
    validation_paths: Sequence[Path],
    out: Path,
    report: Reporter,
    *,
    n_sizes: int = 5,
    n_seeds: int = 3,
    hidden: Sequence[int] = (8, 32, 128),
    score_range: tuple[float, float] = (0.0, 1.0),
) -> dict[str, Any]:
    """Writes scaling.json and scaling.png to out and returns the content of the former.

    n_sizes: the number of sizes, spread over two decades of votes. hidden: the units of the trunks
    that are trained on all votes. A run can be resumed: features and finished fits are kept in out.
    Raises DataError, CheckpointError, ExtraMissingError, TrainingError.
    """
    require_matplotlib()
    work = out / ".work"
    data = prepare(config, train_paths, validation_paths, work, report, score_range)
    shares = np.geomspace(10**-_DECADES, 1.0, n_sizes)
    if shares[0] * np.unique(data.split.train.prompt).size < _MIN_PROMPTS:
        raise DataError(f"too few prompts: a hundredth must be at least {_MIN_PROMPTS}")
    runs = _Runs(config, data, n_seeds, work, report)
    by_votes = [runs.point(config, share) for share in shares]
    by_size = [runs.point(_with_units(config, units), 1.0) for units in hidden]
    result = {
        "family": config.family.value,
        "votes": _curve(by_votes, [p.n_votes for p in by_votes], config.seed),
        "parameters": _curve(by_size, [p.n_parameters for p in by_size], config.seed),
        "marginal_log_loss": runs.loss(data.marginal, data.x_validation[:, :0]),
    }
    _write(out, result)
    return result


class _Runs:
    """Training runs on shares of the prompts."""

    def __init__(
        self, config: TrainConfig, data: Prepared, n_seeds: int, work: Path, report: Reporter
    ) -> None:
        self._config, self._data, self._n_seeds = config, data, n_seeds
        self._work, self._report = work, report

    def point(self, config: TrainConfig, share: float) -> Point:
        """One size with all seeds; each seed draws its own prompts."""
        drawn = [self._draw(share, seed) for seed in range(self._n_seeds)]
        heads = []
        for seed, votes in enumerate(drawn):
            stage = f"{len(votes)} votes, seed {seed + 1} of {self._n_seeds}"
            heads.append(self._train(config.model_copy(update={"seed": seed}), votes, stage))
        losses = [self.loss(one, self._data.x_validation) for one in heads]
        n_prompts = round(float(np.mean([np.unique(v.prompt).size for v in drawn])))
        n_votes = round(float(np.mean([len(v) for v in drawn])))
        return Point(n_prompts, n_votes, _n_parameters(heads[0]), tuple(losses))

    def loss(self, heads: Heads, features: Any) -> float:
        """The mean log-loss per validation vote, weighted by the votes' weights, as in
        `evaluate`."""
        outputs = heads.outputs(features, 1.0)
        votes = self._data.split.validation
        found = predict(self._config.family, votes, outputs)
        return float(np.average(found.loss, weights=votes.weight))

    def _draw(self, share: float, seed: int) -> VoteTable:
        votes = self._data.split.train
        used = np.unique(votes.prompt)
        chance = np.random.default_rng([self._config.seed, seed])
        kept = chance.permutation(used)[: round(share * used.size)]  # shares are nested
        return votes.where(np.isin(votes.prompt, kept))

    def _train(self, config: TrainConfig, votes: VoteTable, stage: str) -> Heads:
        self._report(stage, 0, 1)
        marginal = fit_marginal(config, votes, self._work)
        split = Split(votes, self._data.split.validation)
        part = replace(self._data, split=split, marginal=marginal)
        found = choose(config, part, self._work, _silent)
        self._report(stage, 1, 1, f"validation loss {found.validation_loss:.4f}")
        return found.heads


def _with_units(config: TrainConfig, units: int) -> TrainConfig:
    trunk = (config.trunk or TrunkConfig()).model_copy(update={"hidden": units})
    return config.model_copy(update={"trunk": trunk})


def _n_parameters(heads: Heads) -> int:
    return sum(tensor.size for tensor in heads.tensors().values())


def _curve(points: Sequence[Point], sizes: Sequence[int], seed: int) -> dict[str, Any]:
    law = fit_power_law(sizes, [point.losses for point in points], seed)
    return {"points": [asdict(point) for point in points], "power_law": asdict(law)}


def _silent(stage: str, done: float, total: float, note: str = "") -> None:
    """Reports nothing, since the outer stage does."""


def _write(out: Path, result: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    (out / "scaling.json").write_text(text, encoding="utf-8")
    _draw_curves(result, out / "scaling.png")


def _draw_curves(result: dict[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = zip(figure.subplots(1, 2), (("votes", "n_votes"), ("parameters", "n_parameters")),
                 strict=True)  # fmt: skip
    for axes, (name, size) in panels:
        _panel(axes, result[name], name, size, result["marginal_log_loss"])
    figure.savefig(path, dpi=120)


def _panel(axes: Any, curve: dict[str, Any], name: str, size: str, marginal: float) -> None:
    law = PowerLaw(**curve["power_law"])
    sizes = np.array([point[size] for point in curve["points"]], dtype=np.float64)
    for point in curve["points"]:
        axes.plot([point[size]] * len(point["losses"]), point["losses"], "o", color="tab:blue")
    line = np.geomspace(sizes.min(), sizes.max(), 100)
    low, high = law.exponent_ci95
    label = f"{law.floor:.3f} + {law.scale:.3g} n^-{law.exponent:.2f} [{low:.2f}, {high:.2f}]"
    axes.plot(line, law.at(line), color="tab:orange", label=label)
    axes.axhline(marginal, color="grey", linestyle=":", label="marginal, all votes")
    axes.set(xscale="log", xlabel=name, ylabel="validation log-loss")
    axes.legend()
