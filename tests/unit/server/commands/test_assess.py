"""A new model is assessed: its place, the prompts that it would be chosen for, what it saves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import write_checkpoint

from p2l_model.analysis.prompts import read_prompts
from p2l_model.analysis.scored import PromptReader
from p2l_model.analysis.study import read_corpus
from server.cli import main
from server.offline.simulate.newcomer import saving_of_model
from server.offline.simulate.table import load_scores

TEXTS = [f"{'abz'[i % 3]}{'xyz'[i % 2]} {i}" for i in range(60)]


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    return str(write_checkpoint(tmp_path / "checkpoint"))


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": text, "topic": text[0]} for text in TEXTS]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def report(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main(["assess", *args, "--resamples", "50", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_place_and_prompts(
    checkpoint: str, prompts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("--prompts", prompts, "--checkpoint", checkpoint)
    reader = PromptReader.load(checkpoint)
    corpus = read_corpus(read_prompts(prompts), reader, lambda done: None)
    best = reader.outputs(corpus.features).coefficients.argmax(axis=1)
    total = 0.0
    for index, model in enumerate(reader.models):
        found = report(capsys, *args, "--by", "topic", "--model", model)
        share = found["chosen"]["share"]
        assert share == pytest.approx(np.mean(best == index))
        assert found["chosen"]["ci95"][0] <= share <= found["chosen"]["ci95"][1]
        assert sum(found["displaces"].values()) == pytest.approx(1.0 if share > 0 else 0.0)
        assert model not in found["displaces"]
        mean = np.average(
            [row["share"] for row in found["categories"]],
            weights=[row["n_prompts"] for row in found["categories"]],
        )
        assert mean == pytest.approx(share)
        assert {row["model"] for row in found["neighbours"]} == set(reader.models) - {model}
        for row in found["neighbours"]:
            assert (row["beats"] > 0.5) == (row["rank"] > found["rank"])
        total += share
    assert total == pytest.approx(1.0)


@pytest.mark.slow
def test_found_kinds_and_the_text(
    checkpoint: str, prompts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--prompts", prompts, "--checkpoint", checkpoint, "--model", "beta"]
    assert main(["assess", *args, "--clusters", "2", "--resamples", "50"]) == 0
    out = capsys.readouterr().out
    assert "beta: rank" in out
    assert "best of all on" in out


def write_scores(path: Path, cheap_is_good: bool) -> Path:
    """Two dear models that are always right and `alpha`, a hundredth of their price."""
    rows = []
    for text in TEXTS:
        for model, cost in (("alpha", 0.01), ("beta", 1.0), ("gamma", 1.1)):
            score = float(cheap_is_good) if model == "alpha" else 1.0
            rows.append({"prompt": text, "model": model, "score": score, "cost_usd": cost})
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("cheap_is_good", [True, False])
def test_what_it_saves(tmp_path: Path, checkpoint: str, cheap_is_good: bool) -> None:
    reader = PromptReader.load(checkpoint)
    table = load_scores([write_scores(tmp_path / "s.jsonl", cheap_is_good)], {}, (0.0, 1.0))
    found = saving_of_model("alpha", reader, table, {}, n_resamples=50)
    assert found["at_score_of"] == "beta"
    assert found["saving_without"]["share"] == pytest.approx(0.0, abs=1e-9)
    expected = 0.99 if cheap_is_good else 0.0
    assert found["saving_with"]["share"] == pytest.approx(expected, abs=1e-6)
    assert found["difference"]["share"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_the_command_adds_the_saving(
    tmp_path: Path, checkpoint: str, prompts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = str(write_scores(tmp_path / "s.jsonl", True))
    args = ("--prompts", prompts, "--checkpoint", checkpoint, "--by", "topic", "--model", "alpha")
    found = report(capsys, *args, "--scores", scores)
    assert found["saving"]["difference"]["share"] == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--model", "nobody"], "--model nobody"),
        (["--model", "beta", "--by", "topic", "--clusters", "2"], "given or found"),
    ],
)
def test_bad_input(
    checkpoint: str, prompts: str, capsys: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    assert main(["assess", "--prompts", prompts, "--checkpoint", checkpoint, *args]) == 2
    assert said in capsys.readouterr().err
