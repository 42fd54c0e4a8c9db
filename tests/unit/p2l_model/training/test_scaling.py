"""The scaling law: the fit finds a known law; the command makes its table and its picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import write_base
from toy_votes import quiet, write_votes

from p2l_model.errors import DataError
from p2l_model.evaluation.power_law import fit_power_law
from p2l_model.fitting.config import TrainConfig, TrunkConfig
from p2l_model.training.scaling import scaling
from p2l_model.types import PreferenceFamily

TRUNK = TrunkConfig(hidden=8, members=1, epochs=20, batch_prompts=32, input_dropout=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0])
def test_a_known_law_is_found(exponent: float) -> None:
    sizes = np.geomspace(100, 100_000, 9)
    chance = np.random.default_rng(0)
    losses = [
        list(0.9 + 3.0 * n**-exponent + chance.normal(scale=1e-4, size=3)) for n in sizes
    ]  # fmt: skip
    law = fit_power_law(list(sizes), losses, 0)
    assert law.exponent == pytest.approx(exponent, abs=0.03)
    assert law.floor == pytest.approx(0.9, abs=0.01)
    assert law.exponent_ci95[0] - 0.011 <= exponent <= law.exponent_ci95[1] + 0.011
    assert law.at(np.array([1000.0]))[0] == pytest.approx(0.9 + 3.0 * 1000**-exponent, abs=2e-3)


@pytest.mark.slow
def test_a_rising_curve_has_no_scale() -> None:
    law = fit_power_law([1, 10, 100], [[0.1], [0.2], [0.3]], 0)
    assert law.scale == 0.0
    assert law.floor == pytest.approx(0.2)


@pytest.mark.slow
def test_more_votes_and_more_units_help(tmp_path: Path) -> None:
    config = TrainConfig(
        family=PreferenceFamily.BT, base=str(write_base(tmp_path / "base")), max_tokens=48,
        trunk=TRUNK,
    )  # fmt: skip
    train = write_votes(tmp_path / "train.jsonl", 4000, 1)
    held = write_votes(tmp_path / "validation.jsonl", 200, 2)
    out = tmp_path / "out"
    result = scaling(config, [train], [held], out, quiet, n_sizes=3, n_seeds=2, hidden=(1, 8))
    points = result["votes"]["points"]
    votes = [point["n_votes"] for point in points]
    assert votes[-1] / votes[0] == pytest.approx(100, rel=0.2)
    assert np.mean(points[-1]["losses"]) < np.mean(points[0]["losses"]) - 0.01
    assert np.mean(points[-1]["losses"]) < result["marginal_log_loss"]
    small, large = result["parameters"]["points"]
    assert small["n_parameters"] < large["n_parameters"]
    assert json.loads((out / "scaling.json").read_text()) == json.loads(json.dumps(result))
    assert (out / "scaling.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    again = scaling(config, [train], [held], out, quiet, n_sizes=3, n_seeds=2, hidden=(1, 8))
    assert again == result, "finished fits are taken up again"


@pytest.mark.slow
def test_too_few_prompts_are_refused(tmp_path: Path) -> None:
    config = TrainConfig(base=str(write_base(tmp_path / "base")), max_tokens=48, trunk=TRUNK)
    train = write_votes(tmp_path / "train.jsonl", 50, 1)
    held = write_votes(tmp_path / "held.jsonl", 50, 2)
    with pytest.raises(DataError, match="too few prompts"):
        scaling(config, [train], [held], tmp_path / "out", quiet)
