"""`p2l-router simulate` from files to files, with the bundled checkpoint."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from command_line import p2l_router

from p2l_model.analysis.scored import PromptReader
from router.objective import Objective
from server.cli import main
from server.offline.report.latency import latencies
from server.offline.simulate.costs import unpriced
from server.offline.simulate.predict import Predicted
from server.offline.simulate.table import TokenPrices, load_prices, load_scores


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Two models that the checkpoint knows, on a dozen prompts."""
    chance = random.Random(0)
    path = tmp_path / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("prompt", "model", "score", "output_tokens", "category"))
        for k in range(12):
            for model, skill in (("gpt-4o-2024-08-06", 0.9), ("gpt-4o-mini-2024-07-18", 0.4)):
                right = int(chance.random() < skill)
                writer.writerow((f"What is {k} + {k}?", model, right, 50 + k, "xy"[k % 2]))
    return path


@pytest.mark.slow
def test_simulate_writes_the_curve(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(
        "model,input_usd_per_mtok,output_usd_per_mtok\n"
        "gpt-4o-2024-08-06,2.5,10\ngpt-4o-mini-2024-07-18,0.15,0.6\n"
    )
    out = tmp_path / "out"
    args = ["simulate", "--scores", str(scores), "--prices", str(prices), "--out", str(out)]
    args += ["--resamples", "50", "--orders", "2"]
    assert main([*args, "--json"]) == 0
    pareto = json.loads(capsys.readouterr().out)
    assert pareto == json.loads((out / "pareto.json").read_text())
    assert set(pareto) == {
        "curves", "single_models", "area_over_random_mix", "area_ci95",
        "saving_at_best_single", "saving_ci95",
    }  # fmt: skip
    assert set(pareto["curves"]) == {"p2l", "marginal", "per_category", "oracle", "random_mix"}
    for point in pareto["curves"]["p2l"]:
        assert set(point) == {"cost_usd", "score", "ci95"}
        assert point["ci95"][0] <= point["score"] <= point["ci95"][1]
    assert {row["model"] for row in pareto["single_models"]} == {
        "gpt-4o-2024-08-06",
        "gpt-4o-mini-2024-07-18",
    }
    assert (out / "pareto.png").stat().st_size > 10_000
    assert "What is not settled" in (out / "report.html").read_text()
    report = json.loads((out / "simulate.json").read_text())
    assert report["n_prompts"] == 12
    assert report["expected_costs_from"] == "prices and predicted lengths"
    assert "What is" not in json.dumps(report)


@pytest.mark.slow
def test_the_report_in_the_terminal(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(
        "model,input_usd_per_mtok,output_usd_per_mtok\n"
        "gpt-4o-2024-08-06,2.5,10\ngpt-4o-mini-2024-07-18,0.15,0.6\n"
    )
    args = ["simulate", "--scores", str(scores), "--prices", str(prices)]
    args += ["--resamples", "50", "--orders", "2"]
    assert main([*args, "--against", "gpt-4o-2024-08-06"]) == 0
    said = capsys.readouterr().out
    assert "99% of the quality of gpt-4o-2024-08-06" in said
    for wanted in ("per 1,000 requests", "What a share of the quality", "not settled"):
        assert wanted in said
    for word in ("area", "hindsight", "marginal", "Stream"):
        assert word not in said
    assert main([*args, "--details"]) == 0
    assert "Stream of p2l under a window budget" in capsys.readouterr().out
    assert main([*args, "--against", "gpt-9"]) == 2
    assert "gpt-9: no model of this name is graded" in capsys.readouterr().err


def test_latencies_are_medians(tmp_path: Path) -> None:
    path = tmp_path / "timed.csv"
    path.write_text("prompt,model,score,latency_ms\na,m,1,100\nb,m,1,300\nc,m,1,2000\nd,n,1,\n")
    assert latencies([path]) == {"m": 0.3}


def test_what_is_missing_of_the_prices_is_said(scores: Path, tmp_path: Path) -> None:
    """Prices that were given are not asked for again."""
    prices = tmp_path / "prices.csv"
    prices.write_text("model,input_usd_per_mtok,output_usd_per_mtok\ngpt-4o-2024-08-06,2.5,10\n")
    table = load_scores([scores], load_prices(prices))
    known = np.ones((12, 2))
    predicted = Predicted(Objective.WIN_RATE, known, known, known)
    missing = unpriced(table, predicted, load_prices(prices))
    assert "no price of gpt-4o-mini-2024-07-18" in missing
    assert "give --prices" in unpriced(table, predicted, {})
    lengths = np.array([[1.0, np.nan]] * 12)
    both = dict.fromkeys(table.models, TokenPrices(1.0, 1.0))
    missing = unpriced(table, Predicted(Objective.WIN_RATE, known, lengths, known), both)
    assert "predicts no answer lengths of gpt-4o-mini-2024-07-18" in missing


def test_bad_input_is_said(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--scores", str(scores)]) == 2
    assert "scores and costs" in capsys.readouterr().err
    assert main(["simulate", "--scores", str(scores), "--exclude", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err


def test_a_model_at_two_efforts_is_two_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(1)
    path, prices = tmp_path / "scores.csv", tmp_path / "prices.csv"
    prices.write_text(
        "model,input_usd_per_mtok,output_usd_per_mtok\n"
        "gemini-2.5-flash,0.3,2.5\ngpt-4o-mini-2024-07-18,0.15,0.6\n"
    )
    skills = {
        "gemini-2.5-flash:none": (0.5, 60), "gemini-2.5-flash:high": (0.9, 2_000),
        "gpt-4o-mini-2024-07-18": (0.4, 50),
    }  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("prompt", "model", "score", "output_tokens"))
        for k in range(12):
            for model, (skill, tokens) in skills.items():
                right = int(chance.random() < skill)
                writer.writerow((f"What is {k} + {k}?", model, right, tokens))
    args = ["simulate", "--scores", str(path), "--prices", str(prices), "--json"]
    assert main([*args, "--resamples", "20", "--orders", "1"]) == 0
    singles = {row["model"]: row for row in json.loads(capsys.readouterr().out)["single_models"]}
    assert singles.keys() == skills.keys()
    none, high = (singles[f"gemini-2.5-flash:{effort}"]["cost_usd"] for effort in ("none", "high"))
    assert none < high


@pytest.mark.slow
def test_a_local_layer_has_curves(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices, out = tmp_path / "prices.csv", tmp_path / "out"
    prices.write_text(
        "model,input_usd_per_mtok,output_usd_per_mtok\n"
        "gpt-4o-2024-08-06,2.5,10\ngpt-4o-mini-2024-07-18,0.15,0.6\n"
    )
    args = ["simulate", "--scores", str(scores), "--prices", str(prices), "--out", str(out)]
    args += ["--local", "8", "--seeds", "2", "--folds", "3", "--resamples", "40"]
    assert main([*args, "--json"]) == 0
    pareto = json.loads(capsys.readouterr().out)
    assert pareto == json.loads((out / "pareto.json").read_text())
    assert set(pareto["curves"]) == {"p2l", "marginal", "per_category", "oracle", "random_mix"}
    local = pareto["local"]
    assert (local["n_answers"], local["n_folds"], local["n_seeds"]) == (8, 3, 2)
    assert set(local["saved"]["p2l"]) == set(local["saved_less_means"]) == {"1.00", "0.99", "0.97"}
    assert set(local["saved_at_equal_scores"]) == set(local["saved"]) == set(local["area"])
    assert json.loads((out / "simulate.json").read_text())["local"] == local
    assert "What is" not in json.dumps(pareto)
    page = (out / "report.html").read_text()
    assert (out / "pareto.png").exists()
    assert main([*args, "--against", "gpt-4o-mini-2024-07-18"]) == 0
    said = capsys.readouterr().out
    assert "local layer less means" in said
    assert "gpt-4o-mini-2024-07-18 was asked for" in said
    for sentence in ("split into 3 parts, 2 times anew", "what 8 graded answers"):
        assert sentence in said
        assert sentence in page
    assert "usd_per_win" not in page, "it is on the scale of the gateway's values"


@pytest.mark.parametrize(
    "flags",
    [
        ["--local", "-1"],
        ["--local", "5", "--folds", "1"],
        ["--local", "5", "--coverage", "1"],
        ["--local", "5", "--objective", "p_good"],
        ["--local", "5", "--against", "gpt-9"],
        ["--against", "gpt-9"],
        ["--resamples", "0"],
        ["--orders", "0"],
    ],
)
def test_a_flag_that_cannot_be_is_named_before_anything_is_computed(
    scores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
) -> None:
    def load(_checkpoint: str, _engine: str) -> NoReturn:
        pytest.fail("the checkpoint was loaded")

    monkeypatch.setattr(PromptReader, "load", load)
    prices = tmp_path / "prices.csv"
    prices.write_text(
        "model,input_usd_per_mtok,output_usd_per_mtok\n"
        "gpt-4o-2024-08-06,2.5,10\ngpt-4o-mini-2024-07-18,0.15,0.6\n"
    )
    done = p2l_router("simulate", "--scores", str(scores), "--prices", str(prices), *flags)
    assert done.returncode == 2
    assert flags[-2] in done.stderr
