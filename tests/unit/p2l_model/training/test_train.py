"""Training end to end on a tiny base: the checkpoint serves, beats the marginal, and resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import write_base
from toy_votes import quiet, write_votes

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import load_votes
from p2l_model.engine.features import prompt_features
from p2l_model.engine.load import load_engine
from p2l_model.errors import DataError
from p2l_model.evaluation.metrics import calibration_error, predict, prompt_bootstrap, source_mean
from p2l_model.evaluation.report import evaluate
from p2l_model.fitting.config import (
    FinetuneConfig,
    TrainConfig,
    TrunkConfig,
    load_train_config,
)
from p2l_model.placement.place import bundled_placer
from p2l_model.training.calibrate import fit_calibration
from p2l_model.training.prepare import load_split
from p2l_model.training.train import train
from p2l_model.types import PreferenceFamily


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("train")
    return {
        "base": write_base(root / "base"),
        "train": write_votes(root / "train.jsonl", 400, 1),
        "validation": write_votes(root / "validation.jsonl", 150, 2),
        "root": root,
    }


def config(paths: dict[str, Path], family: str = "grk", **more: Any) -> TrainConfig:
    return TrainConfig(
        family=PreferenceFamily(family), base=str(paths["base"]), max_tokens=48, **more
    )


# the family that ships is tried at every turn, the others before they land
FAMILIES = [
    family if family is PreferenceFamily.GRK else pytest.param(family, marks=pytest.mark.slow)
    for family in PreferenceFamily
]
TRUNK = TrunkConfig(hidden=16, members=2, epochs=60, batch_prompts=64, input_dropout=0.1)


@pytest.mark.parametrize(
    "trunk",
    [pytest.param(None, id="linear", marks=pytest.mark.slow), pytest.param(TRUNK, id="trunk")],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_training_finds_what_the_prompt_says(
    paths: dict[str, Path], family: str, trunk: TrunkConfig | None
) -> None:
    out = paths["root"] / f"out-{family}-{trunk is None}"
    options = config(paths, family, trunk=trunk)
    train(options, [paths["train"]], [paths["validation"]], out, quiet)
    checkpoint = load_checkpoint(out)
    votes = load_votes([paths["validation"]])
    report = evaluate(checkpoint, load_engine(checkpoint), votes, lambda done, total: None)
    assert report["log_loss"] < report["baseline"]["log_loss"] - 0.05
    assert report["delta_ci95"][1] < 0
    assert report["delta_log_loss"] == pytest.approx(
        report["log_loss"] - report["baseline"]["log_loss"]
    )
    promised = checkpoint.manifest.metrics["validation"]
    assert report["log_loss"] == pytest.approx(promised["log_loss"], abs=1e-4)
    assert set(report["by_category"]) == {"a", "z"}
    assert report["accuracy"] > 0.8
    tokens = checkpoint.marginal.expected_output_tokens
    assert tokens is not None
    assert np.all((tokens > 90) & (tokens < 210)), "between the 100 and 200 of the data"


@pytest.mark.slow
@pytest.mark.parametrize("trunk", [None, TRUNK], ids=["linear", "trunk"])
def test_a_killed_run_goes_on_to_the_same_checkpoint(
    paths: dict[str, Path], trunk: TrunkConfig | None
) -> None:
    name = "linear" if trunk is None else "trunk"
    whole, resumed = paths["root"] / f"whole-{name}", paths["root"] / f"resumed-{name}"
    arguments = (config(paths, trunk=trunk), [paths["train"]], [paths["validation"]])
    first = train(*arguments, whole, quiet)

    class KilledError(Exception):
        pass

    def killed(stage: str, done: float, total: float, note: str = "") -> None:
        if stage.startswith(("heads", "trunk, member 2")):
            raise KilledError

    with pytest.raises(KilledError):
        train(*arguments, resumed, killed)
    assert not resumed.exists()
    assert list((paths["root"] / f".resumed-{name}.work" / "fits").glob("*.[ns]*"))
    second = train(*arguments, resumed, quiet)
    assert second.metrics == first.metrics
    log = (paths["root"] / f".resumed-{name}.work" / "log.jsonl").read_text().splitlines()
    assert all({"stage", "train_loss"} <= set(json.loads(line)) for line in log)
    assert log
    third = train(*arguments, resumed, quiet)
    assert third == second, "a run that was finished changes nothing"
    one, two = load_checkpoint(whole), load_checkpoint(resumed)
    assert np.array_equal(one.heads.weight, two.heads.weight)


def misled(path: Path, target: Path, **more: Any) -> Path:
    """The votes of a file, and each of them the other way round with `more` in its row."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    other = {"model_a": "model_b", "model_b": "model_a"}
    against = [row | {"winner": other.get(row["winner"], row["winner"])} | more for row in rows]
    target.write_text("\n".join(json.dumps(row) for row in rows + against * 3))
    return target


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"trunk": TRUNK}, id="trunk", marks=pytest.mark.slow),
        pytest.param({"l2": [0.001, 0.1, 10.0]}, id="linear", marks=pytest.mark.slow),
        pytest.param({"finetune": FinetuneConfig(epochs=2)}, id="finetune", marks=pytest.mark.slow),
    ],
)
def test_votes_without_weight_choose_nothing(
    paths: dict[str, Path], tmp_path: Path, more: dict[str, Any]
) -> None:
    judges = misled(paths["validation"], tmp_path / "misled.jsonl", weight=0)
    made = []
    for name, held in (("one", paths["validation"]), ("two", judges)):
        options = config(paths, **more, balance=0.0)
        train(options, [paths["train"]], [held], tmp_path / name, quiet)
        made.append(load_checkpoint(tmp_path / name))
    first, second = made
    assert np.allclose(first.heads.weight, second.heads.weight)
    assert first.manifest.temperature == second.manifest.temperature
    changed = misled(paths["validation"], tmp_path / "against.jsonl", weight=1)
    train(config(paths, **more), [paths["train"]], [changed], tmp_path / "two", quiet)
    third = load_checkpoint(tmp_path / "two").manifest
    assert third.temperature != second.manifest.temperature, "with weight they would have"


def test_a_vote_of_weight_two_judges_as_two_votes(tmp_path: Path) -> None:
    path = write_votes(tmp_path / "one.jsonl", 60, 4)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    heavy = [row | {"weight": 1 + number % 3, "source": "st"[number % 2]}
             for number, row in enumerate(rows)]  # fmt: skip
    copies = [row | {"weight": 1} for row in heavy for _ in range(row["weight"])]
    found = []
    for name, some in (("heavy", heavy), ("copies", copies)):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in some))
        votes = load_votes([file])
        chance = np.random.default_rng(0)
        heads = Heads(chance.normal(size=(3, 2)), chance.normal(size=3))
        x = np.array([[len(c.turns[0]), c.turns[0].count("a")] for c in votes.conversations]) / 9
        family = PreferenceFamily.BT
        loss = predict(family, votes, heads.outputs(x, 1.0)).loss
        found.append((source_mean(loss, votes), fit_calibration(family, heads, votes, x)))
    assert found[0][0] == pytest.approx(found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("part", ["training", "validation"])
def test_votes_that_all_weigh_nothing_are_an_error(
    paths: dict[str, Path], tmp_path: Path, part: str
) -> None:
    source = paths["train" if part == "training" else "validation"]
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n".join(json.dumps(row | {"weight": 0}) for row in rows))
    files = [[empty], [paths["validation"]]] if part == "training" else [[paths["train"]], [empty]]
    with pytest.raises(DataError, match=f"every vote of the {part} part has weight 0"):
        load_split(config(paths), *files, (0.0, 1.0))


@pytest.mark.slow
def test_without_validation_files_prompts_are_held_back(paths: dict[str, Path]) -> None:
    options = config(paths, l2=[1.0])
    manifest = train(options, [paths["train"]], [], paths["root"] / "held", quiet)
    assert 10 < manifest.metrics["validation"]["n_prompts"] < 100


def test_prompts_of_the_training_part_are_left_out_of_validation(
    paths: dict[str, Path], tmp_path: Path
) -> None:
    seen = [json.loads(line) for line in paths["train"].read_text().splitlines()[:3]]
    for row in seen:
        row["prompt"] = "  " + row["prompt"].upper().replace(" ", "\n ")
    mixed = tmp_path / "validation.jsonl"
    own = paths["validation"].read_text().splitlines()
    mixed.write_text("\n".join([*map(json.dumps, seen), *own]))
    split = load_split(config(paths), [paths["train"]], [mixed], (0.0, 1.0))
    train_prompts = {c.turns for c in split.train.conversations}
    kept = {split.validation.conversations[index].turns for index in split.validation.prompt}
    assert split.n_seen > 0
    assert kept
    assert not kept & train_prompts
    with pytest.raises(DataError, match="no validation vote is left"):
        load_split(config(paths), [paths["train"]], [paths["train"]], (0.0, 1.0))


def test_config_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("l2: [0.1]\nsteps: 4\n")
    with pytest.raises(DataError, match="steps"):
        load_train_config(path, {})
    path.write_text("family: bt\nseed: 3\n")
    assert load_train_config(path, {"family": "grk", "seed": None}).family == "grk"
    assert load_train_config(path, {}).seed == 3
    for text in ("l2: \x00", "seed: 2026-02-30", "? [a]\n: 1", "l2: " + "{a: " * 5_000):
        path.write_text(text)
        with pytest.raises(DataError, match="cannot be read"):
            load_train_config(path, {})


def test_the_bootstrap_resamples_prompts_not_rows() -> None:
    chance = np.random.default_rng(0)
    prompt = np.repeat(np.arange(40), 50)
    shift = chance.normal(size=40)[prompt]  # rows of a prompt move together
    low, high = prompt_bootstrap(shift, np.ones(2000), prompt, 0)
    deviation = shift[::50].std() / np.sqrt(40)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.15)
    assert low < shift.mean() < high


def test_calibration_error() -> None:
    p = np.array([0.9] * 10 + [0.1] * 10)
    y = np.array([1.0] * 9 + [0.0] + [0.0] * 9 + [1.0])
    assert calibration_error(p, y, np.ones(20)) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(p, 1 - y, np.ones(20)) == pytest.approx(0.8)
    assert calibration_error(p[:0], y[:0], np.ones(0)) is None


@pytest.mark.slow
def test_a_model_no_votes_connect_with_the_prompts_is_pulled_to_the_average(
    tmp_path: Path, paths: dict[str, Path]
) -> None:
    """Two islands: x, y, w as before; far1 and far2, always tied, on prompts of m's only."""
    rows = [{"prompt": "m " * (1 + i % 6), "model_a": "far1", "model_b": "far2", "winner": "tie"}
            for i in range(200)]  # fmt: skip
    island = tmp_path / "island.jsonl"
    island.write_text("\n".join(json.dumps(row) for row in rows))
    spread = {}
    for weight in (0.0, 1.0):
        trunk = TRUNK.model_copy(update={"stranger_weight": weight, "members": 1})
        train(config(paths, trunk=trunk), [paths["train"], island], [paths["validation"]],
              tmp_path / f"{weight}", quiet)  # fmt: skip
        checkpoint = load_checkpoint(tmp_path / f"{weight}")
        votes = load_votes([paths["validation"]])
        features = prompt_features(
            votes.conversations,
            checkpoint.prompt,
            load_engine(checkpoint),
            lambda done, total: None,
        )
        outputs = checkpoint.heads.outputs(features, 1.0).coefficients
        names = list(checkpoint.manifest.models)
        far = outputs[:, [names.index("far1"), names.index("far2")]]
        near = outputs[:, [names.index(name) for name in "wxy"]].mean(axis=1, keepdims=True)
        spread[weight] = float(np.abs(far - near).mean())
    assert spread[1.0] < 0.5 * spread[0.0]


@pytest.mark.slow
def test_an_island_is_tied_on_the_leaderboard_for_all_prompts(
    tmp_path: Path, paths: dict[str, Path]
) -> None:
    """x, y and w meet each other; far1 and far2 only meet themselves. Without their places they
    would stand wherever their own votes happen to put them."""
    rows = [
        {"prompt": "m", "model_a": "far1", "model_b": "far2", "winner": "model_b"}
        for _ in range(50)
    ]
    island = tmp_path / "island.jsonl"
    island.write_text("\n".join(json.dumps(row) for row in rows))
    files = [paths["train"], island], [paths["validation"]]
    boards = {}
    for scale in (0.0, 0.5):
        trunk = TRUNK.model_copy(update={"epochs": 1, "members": 1, "place_scale": scale})
        manifest = train(config(paths, trunk=trunk), *files, tmp_path / f"{scale}", quiet)
        boards[scale] = dict(zip(manifest.models, manifest.marginal.coefficients, strict=True))
    free, tied = boards[0.0], boards[0.5]
    assert {name: tied[name] for name in "wxy"} == {name: free[name] for name in "wxy"}
    placer = bundled_placer()
    above = 0.5 * (
        np.mean([placer.place(name).mean for name in ("far1", "far2")])
        - np.mean([placer.place(name).mean for name in "wxy"])
    )
    level = np.mean([tied[name] for name in "wxy"]) + above
    assert np.mean([tied["far1"], tied["far2"]]) == pytest.approx(level)
    assert tied["far2"] - tied["far1"] == pytest.approx(free["far2"] - free["far1"])
