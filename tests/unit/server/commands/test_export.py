"""`p2l-router export`: measured, refused above its bounds; and the measure itself."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from command_line import Done, p2l_router

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from server.offline.routing_effect import routing_effect


def board(*coefficients: float) -> PromptLeaderboard:
    names = tuple("abc"[: len(coefficients)])
    return PromptLeaderboard(PreferenceFamily.BT, names, np.array(coefficients, dtype=np.float64))


def card(name: str, price: int) -> ModelCard:
    prices = Prices(input_usd_per_mtok=Decimal(price), output_usd_per_mtok=Decimal(price))
    return ModelCard(name=name, provider="p", upstream_model=name, leaderboard_name=name,
                     prices=prices, expected_output_tokens=100)  # fmt: skip


CATALOGUE = [card("a", 1), card("b", 10), card("c", 100)]


def test_the_same_leaderboards_change_nothing() -> None:
    effect = routing_effect([board(0, 1, 2)], [board(0, 1, 2)], [100], CATALOGUE)
    assert effect.n_decisions == 6
    assert effect.changed == effect.regret_mean == effect.coefficient_error_max == 0


def test_a_swap_of_the_leaders_costs_the_difference_of_their_win_rates() -> None:
    effect = routing_effect([board(0, 1, 2)], [board(0, 2, 1)], [100], [])
    win = [np.mean([1 / (1 + np.exp(other - own)) for other in (0, 1, 2)]) for own in (0, 1, 2)]
    assert (effect.n_decisions, effect.changed) == (1, 1.0)
    assert effect.regret_mean == pytest.approx(win[2] - win[1])
    assert effect.coefficient_error_max == 1.0


def test_under_a_budget_mixes_are_compared() -> None:
    # b falls off the hull: where a and b were mixed, a and c are
    effect = routing_effect([board(0, 1, 2)], [board(0, -1, 2)], [100], CATALOGUE)
    assert 0 < effect.changed < 1
    assert 0 < effect.regret_mean <= effect.regret_max < 0.3


def export(*args: str) -> Done:
    return p2l_router("export", "--checkpoint", "bundled-high", *args)


@pytest.mark.slow
def test_the_command_measures_and_refuses(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    prompts.write_text("\n".join(json.dumps({"prompt": f"What is {k} * 7?"}) for k in range(6)))
    given = ("--prompts", str(prompts), "--out", str(out))
    refused = export(*given, "--max-changed", "-1")
    assert refused.returncode == 1
    assert "share of decisions changed" in refused.stderr
    assert list(tmp_path.iterdir()) == [prompts], "nothing is written, no draft is left"
    done = export(*given, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["n_prompts"] == 6
    assert 0 < report["coefficient_error_mean"] < 0.2
    manifest = json.loads((out / "p2l.json").read_text())
    assert manifest["engine_precision"] == "int8"
    assert manifest["metrics"]["export"]["max_regret"] == 0.002
    done = p2l_router("leaderboard", "Hi", "--checkpoint", str(out), "--json")
    assert json.loads(done.stdout)["family"]
    itself = p2l_router("export", "--checkpoint", str(out), "--out", str(out))
    assert itself.returncode == 2
