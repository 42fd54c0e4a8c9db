"""Evaluation: calibration, a leaderboard per category, two checkpoints, and what is written."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import MODELS, WIDTH, write_base, write_checkpoint

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.data.files import VoteTable, load_votes
from p2l_model.engine.features import Scored, score
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError, ExtraMissingError
from p2l_model.evaluation.calibration import calibration_table, draw_reliability, outcome_table
from p2l_model.evaluation.category_baseline import fit_categories
from p2l_model.evaluation.compare import compare_checkpoints
from p2l_model.evaluation.metrics import N_BINS, Predictions, predict
from p2l_model.evaluation.report import compare, report
from p2l_model.fitting.config import TrainConfig
from p2l_model.fitting.linear import FitOptions, Prior, fit_heads
from p2l_model.preference import log_probabilities, outcomes
from p2l_model.training.train import train
from p2l_model.types import Conversation, PreferenceFamily
from server.cli import main

GRK = PreferenceFamily.GRK
BT = PreferenceFamily.BT


def write_votes(path: Path, n_prompts: int, seed: int, models: tuple[str, str, str]) -> Path:
    """On prompts of category `a` the first model wins, in `z` the second; the third always loses.
    A tenth of the votes are ties."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(n_prompts):
        letter = chance.choice("az")
        prompt = " ".join(
            letter * chance.randint(1, 3) for _ in range(2 * chance.randint(1, 4) + seed % 2)
        )
        best = models[0] if letter == "a" else models[1]
        for other in {*models} - {best}:
            sides = [best, other]
            chance.shuffle(sides)
            winner = "model_a" if (sides[0] == best) == (chance.random() < 0.9) else "model_b"
            winner = chance.choice(["tie", "tie_bothbad"]) if chance.random() < 0.1 else winner
            rows.append({"prompt": prompt, "model_a": sides[0], "model_b": sides[1],
                         "winner": winner, "category": letter,
                         "source": chance.choice(["one", "two"])})  # fmt: skip
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("evaluate")
    models = ("alpha", "beta", "gamma")
    found = {
        "base": write_base(root / "train-base"),
        "train": write_votes(root / "train.jsonl", 300, 1, models),
        "validation": write_votes(root / "validation.jsonl", 120, 2, models),
        "strangers": write_votes(root / "strangers.jsonl", 5, 3, ("p", "q", "r")),
        "grk": root / "grk",
        "bt": write_checkpoint(root / "random" / "bt", BT),
    }
    config = TrainConfig(family=GRK, base=str(found["base"]), max_tokens=48, l2=[0.01])
    train(config, [found["train"]], [found["validation"]], found["grk"], lambda *args: None)
    return found


@pytest.fixture(scope="module")
def validation(paths: dict[str, Path]) -> VoteTable:
    return load_votes([paths["validation"]])


def scored(path: Path, votes: VoteTable) -> Scored:
    checkpoint = load_checkpoint(path)
    return score(checkpoint, load_engine(checkpoint), votes, lambda done, total: None)


def synthetic(
    n: int, categories: list[str], outcome: list[int], sides: tuple[int, int] = (0, 1), **more: Any
) -> VoteTable:
    """n votes, each on a prompt of its own, between two of MODELS."""
    arrays: dict[str, Any] = {
        "prompt": np.arange(n),
        "model_a": np.full(n, sides[0]),
        "model_b": np.full(n, sides[1]),
        "outcome": np.array(outcome),
        "p_model_a": np.full(n, np.nan),
        "weight": np.ones(n),
        "source": np.full(n, "s"),
        "category": np.array(categories),
        "output_tokens_a": np.full(n, np.nan),
        "output_tokens_b": np.full(n, np.nan),
        "score_a": np.full(n, np.nan),
        "score_b": np.full(n, np.nan),
    }
    prompts = tuple(Conversation((str(index),)) for index in range(n))
    return VoteTable(conversations=prompts, models=tuple(MODELS), **(arrays | more))


def drawn(n: int, family: PreferenceFamily) -> tuple[VoteTable, HeadOutputs]:
    """n votes drawn from the very leaderboards that are given with them."""
    chance = np.random.default_rng(5)
    outputs = HeadOutputs(chance.normal(size=(n, 3)), chance.normal(size=n), np.zeros(n))
    a, b = outputs.coefficients[:, 0], outputs.coefficients[:, 1]
    p = np.exp(log_probabilities(family, a, b, outputs.eta, outputs.gamma))
    outcome = (chance.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    return synthetic(n, [""] * n, outcome.tolist()), outputs


@pytest.mark.slow
def test_the_ece_is_that_of_the_table(paths: dict[str, Path], validation: VoteTable) -> None:
    found = report(scored(paths["grk"], validation), validation)
    table = found["calibration"]
    assert len(table) == N_BINS
    assert [row["low"] for row in table[1:]] == [row["high"] for row in table[:-1]]
    filled = [row for row in table if row["n"]]
    total = sum(row["weight"] for row in filled)
    gaps = sum(row["weight"] * abs(row["mean_predicted"] - row["observed"]) for row in filled)
    assert gaps / total == pytest.approx(found["ece"], rel=1e-9)
    assert sum(row["n"] for row in table) == int((validation.outcome < 2).sum())
    for row in filled:
        assert row["low"] <= row["mean_predicted"] <= row["high"]
        assert row["observed_ci95"][0] <= row["observed"] <= row["observed_ci95"][1]


@pytest.mark.slow
def test_the_intervals_of_true_probabilities_hold_them() -> None:
    votes, outputs = drawn(6000, BT)
    table = calibration_table(predict(BT, votes, outputs), votes)
    held = [
        row["observed_ci95"][0] <= row["mean_predicted"] <= row["observed_ci95"][1]
        for row in table
        if row["n"] > 30
    ]
    assert len(held) > 10
    assert sum(held) >= len(held) - 2


def test_votes_on_one_prompt_do_not_narrow_the_interval() -> None:
    predictions = Predictions(np.zeros(40), np.full(40, 0.7), np.repeat([1.0, 0.0], [28, 12]))
    apart = synthetic(40, [""] * 40, [0] * 40)
    together = replace(apart, prompt=np.arange(40) // 10)

    def width(votes: VoteTable) -> float:
        (row,) = [row for row in calibration_table(predictions, votes) if row["n"]]
        return float(row["observed_ci95"][1] - row["observed_ci95"][0])

    assert width(apart) == pytest.approx(0.27355, abs=1e-5)  # Wilson, 28 of 40
    assert width(together) > 2 * width(apart)


def test_without_decisive_votes_the_table_is_empty() -> None:
    ties = Predictions(np.zeros(3), np.full(3, 0.4), np.full(3, 0.5))
    table = calibration_table(ties, synthetic(3, [""] * 3, [2] * 3))
    assert [row["n"] for row in table] == [0] * N_BINS
    assert all(row["observed"] is None for row in table)


@pytest.mark.parametrize("family", [BT, PreferenceFamily.RK, GRK])
def test_outcomes_of_true_probabilities_are_as_predicted(family: PreferenceFamily) -> None:
    votes, outputs = drawn(20000, family)
    table = outcome_table(family, votes, outputs)
    assert list(table) == [outcome.value for outcome in outcomes(family)]
    for kind in ("observed", "predicted"):
        assert sum(row[kind] for row in table.values()) == pytest.approx(1)
    for row in table.values():
        assert row["observed"] == pytest.approx(row["predicted"], abs=4 * 0.5 / 20000**0.5)


def test_outcomes_show_ties_that_are_not_foreseen() -> None:
    votes, outputs = drawn(2000, GRK)
    few = outcome_table(GRK, votes, replace(outputs, eta=outputs.eta - 9))
    assert few["tie"]["predicted"] < 0.5 * few["tie"]["observed"]


@pytest.mark.slow
def test_a_leaderboard_per_category_beats_one_for_all(
    paths: dict[str, Path], validation: VoteTable
) -> None:
    one = scored(paths["grk"], validation)
    plain = report(one, validation)
    boards = fit_categories(one.checkpoint.manifest, load_votes([paths["train"]]))
    found = report(one, validation, categories=boards)
    told = found["per_category_baseline"]
    assert told["log_loss"] < found["baseline"]["log_loss"] - 0.05
    assert told["accuracy"] > found["baseline"]["accuracy"] + 0.1
    assert told["n_categories"] == 4, "two categories in each of two sources"
    assert told["n_unseen"] == 0
    assert told["delta_log_loss"] == pytest.approx(found["log_loss"] - told["log_loss"])
    low, high = told["delta_ci95"]
    assert low < told["delta_log_loss"] < high
    for part in found["by_source"].values():
        assert set(part["per_category_baseline"]) == set(told) - {"n_categories", "n_unseen"}
    shared = set(plain) - {"by_source", "by_category"}
    assert {key: found[key] for key in shared} == {key: plain[key] for key in shared}
    assert "per_category_baseline" not in plain


@pytest.mark.slow
def test_what_a_category_never_saw_is_as_overall(paths: dict[str, Path]) -> None:
    manifest = load_checkpoint(paths["grk"]).manifest
    boards = fit_categories(manifest, synthetic(60, ["a"] * 60, [1] * 50 + [2] * 10))
    overall, fitted = boards.table[-1], boards.table[boards.rows["s", "a"]]
    assert overall[:3].tolist() == manifest.marginal.coefficients
    assert fitted[2] == overall[2], "gamma had no vote"
    assert fitted[0] < overall[0] - 0.1
    assert fitted[1] > overall[1] + 0.1
    elsewhere = synthetic(4, ["b"] * 4, [0, 1, 2, 3])
    assert boards.n_unseen(elsewhere) == 4
    found = compare(
        manifest, load_checkpoint(paths["grk"]).heads, elsewhere, np.zeros((4, WIDTH)), 0, boards
    )
    assert found["per_category_baseline"]["log_loss"] == found["baseline"]["log_loss"]


def test_the_prior_is_a_gaussian() -> None:
    votes = synthetic(10, ["a"] * 10, [0] * 10)  # alpha wins all ten
    centre = np.array([0.3, 0.1, 7.0, 0.0, 0.0])
    prior = Prior(centre, 1 / (2 * 10))
    heads = fit_heads(np.zeros((10, 0)), votes, FitOptions(BT, 0.0, 0.0), prior)
    # the gradient: ten times P(beta wins) up for alpha, against its distance from the centre
    pull = 10 / (1 + np.exp(heads.bias[0] - heads.bias[1]))
    assert heads.bias - centre[:3] == pytest.approx([pull, -pull, 0.0], abs=1e-4)


def test_categories_without_weight_and_without_votes(paths: dict[str, Path]) -> None:
    manifest = load_checkpoint(paths["grk"]).manifest
    categories, weight = ["a", "b"] * 5, np.array([1.0, 0.0] * 5)
    boards = fit_categories(manifest, synthetic(10, categories, [0] * 10, weight=weight))
    assert set(boards.rows) == {("s", "a")}
    with pytest.raises(DataError, match="no training vote"):
        fit_categories(manifest, load_votes([paths["strangers"]]))


@pytest.mark.slow
def test_a_checkpoint_is_exactly_as_good_as_itself(
    paths: dict[str, Path], validation: VoteTable
) -> None:
    one, again = scored(paths["grk"], validation), scored(paths["grk"], validation)
    found = compare_checkpoints(one, again, validation, 0)
    assert found["delta_log_loss"] == 0.0
    assert found["delta_ci95"] == [0.0, 0.0]
    assert found["metric"] == "log_loss"
    assert (found["n"], found["n_skipped"]) == (len(validation), 0)
    assert found["log_loss"]["first"] == report(one, validation)["log_loss"]
    assert set(found["by_source"]) == {"one", "two"}


@pytest.mark.slow
def test_families_of_other_outcomes_are_compared_on_wins(
    paths: dict[str, Path], validation: VoteTable
) -> None:
    first, second = scored(paths["grk"], validation), scored(paths["bt"], validation)
    found = compare_checkpoints(first, second, validation, 0)
    assert found["metric"] == "log_loss_binary"
    assert found["log_loss"] == {
        "first": pytest.approx(report(first, validation)["log_loss_binary"]),
        "second": pytest.approx(report(second, validation)["log_loss_binary"]),
    }
    assert found["delta_ci95"][1] < 0, "one was trained, the other's heads are random"
    back = compare_checkpoints(second, first, validation, 0)
    assert back["delta_log_loss"] == pytest.approx(-found["delta_log_loss"])


def test_only_votes_that_both_know_are_compared(
    paths: dict[str, Path], validation: VoteTable
) -> None:
    one = scored(paths["grk"], validation)
    models = [*reversed(MODELS[:2]), "other"]  # another order, another model
    manifest = one.checkpoint.manifest.model_copy(update={"models": models})
    heads = replace(
        one.checkpoint.heads,
        weight=one.checkpoint.heads.weight[[1, 0, 2]],
        bias=one.checkpoint.heads.bias[[1, 0, 2]],
    )
    other = Scored(replace(one.checkpoint, manifest=manifest, heads=heads), one.features)
    found = compare_checkpoints(one, other, validation, 0)
    known = validation.among(models)
    assert 0 < found["n"] == len(known) < len(validation)
    assert found["n_skipped"] == len(validation) - len(known)
    assert found["delta_log_loss"] == pytest.approx(0.0, abs=1e-12)
    unknown = manifest.model_copy(update={"models": ["p", "q", "r"]})
    with pytest.raises(DataError, match="both checkpoints know"):
        compare_checkpoints(
            one, replace(other, checkpoint=replace(other.checkpoint, manifest=unknown)), known, 0
        )


@pytest.mark.slow
def test_a_picture_of_any_table(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    empty = synthetic(1, [""], [2])
    draw_reliability(calibration_table(Predictions(*(np.full(1, 0.5),) * 3), empty), path, "none")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_without_matplotlib_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExtraMissingError, match=r"matplotlib is not installed.*\[train\]"):
        draw_reliability([], tmp_path / "x.png", "")


@pytest.mark.slow
def test_the_command_writes_and_prints_the_same(
    paths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "folder"
    args = ["evaluate", "--checkpoint", str(paths["grk"]), "--data", str(paths["validation"]),
            "--train-data", str(paths["train"]), "--compare", str(paths["bt"]),
            "--out", str(out)]  # fmt: skip
    assert main([*args, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((out / "evaluation.json").read_text()) == printed
    assert printed["comparison"]["checkpoint"] == str(paths["bt"])
    png = (out / "reliability.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png[12:16] == b"IHDR"
    assert len(png) > 5000
    assert main(args) == 0
    shown = capsys.readouterr().out
    for part in ("accuracy", "ECE", "4 leaderboards, one per category", "log_loss_binary of the"):
        assert part in shown
    assert f"{printed['per_category_baseline']['log_loss']:.4f}" in shown
    assert f"{printed['comparison']['delta_log_loss']:+.4f}" in shown


def test_the_contract_of_the_report(
    paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--checkpoint", str(paths["grk"]), "--data", str(paths["validation"])]
    assert main(["evaluate", *args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    measures = {"log_loss", "log_loss_binary", "accuracy", "brier", "ece"}
    part = {"n", "n_prompts", "baseline", "delta_log_loss", "delta_ci95", *measures}
    more = {"n_skipped", "family", "by_source", "by_category", "outcomes", "calibration"}
    assert set(found) == part | more
    assert set(found["baseline"]) == measures | {"n"}
    for parts in (found["by_source"], found["by_category"]):
        assert all(set(one) == part for one in parts.values())
    assert set(found["outcomes"]) == {"model_a", "model_b", "tie", "tie_bothbad"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data", "{strangers}"], "no vote is between two models that the checkpoint knows"),
        (["--data", "{validation}", "--train-data", "{strangers}"], "no training vote"),
        (["--data", "{validation}", "--train-data", "/nonexistent"], "no such file"),
        (["--data", "{validation}", "--compare", "bundled"], "both checkpoints know"),
        (["--data", "{validation}", "--compare", "/nonexistent"], "is this a checkpoint folder"),
        (["--data", "{validation}", "--out", "{train}"], "cannot be made a folder"),
    ],
)
def test_bad_input_is_said_before_the_work(
    paths: dict[str, Path], capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    given = [flag.format(**paths) for flag in flags]
    assert main(["evaluate", "--checkpoint", str(paths["grk"]), *given]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
