"""Whose level on a prompt is unknown, and where it is put."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable, load_votes
from p2l_model.data.soft_labels import balanced
from p2l_model.fitting.strangers import Strangers, strangers, tied_islands

VOTES = [
    ("one", "a", "b", "s"),
    ("two", "b", "c", "t"),
    ("three", "d", "e", "u"),
    ("two", "a", "b", "s"),
]


def votes(tmp_path: Path) -> VoteTable:
    rows = [
        {"prompt": prompt, "model_a": a, "model_b": b, "winner": "model_a", "source": source}
        for prompt, a, b, source in VOTES
    ]
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return load_votes([path])


def test_a_stranger_is_a_model_that_the_source_never_asked(tmp_path: Path) -> None:
    table = votes(tmp_path)
    assert table.models == ("a", "b", "c", "d", "e")
    assert strangers(table).astype(int).tolist() == [
        [0, 0, 1, 1, 1],  # of s, which knows a and b
        [0, 0, 0, 1, 1],  # of s and of t
        [1, 1, 1, 0, 0],
    ]


def test_strangers_are_drawn_to_their_places_beside_the_others(tmp_path: Path) -> None:
    places = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    made = Strangers.of(votes(tmp_path), places)
    right = torch.tensor([[5.0, 6.0, 7.0, 8.0, 9.0]])
    assert float(made.penalty(right, np.array([0]))) == 0.0
    off = torch.tensor([[5.0, 6.0, 7.0, 8.0, 12.0]], requires_grad=True)
    loss = made.penalty(off, np.array([0]))
    assert float(loss.detach()) == 3.0  # 3 squared over three strangers
    loss.backward()  # type: ignore[no-untyped-call]
    assert off.grad is not None
    assert off.grad[0, :2].tolist() == [0.0, 0.0], "the others stay where their votes hold them"


def test_without_places_strangers_are_drawn_to_the_mean(tmp_path: Path) -> None:
    made = Strangers.of(votes(tmp_path))
    assert float(made.penalty(torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0]]), np.array([0]))) == 0.0


def test_an_island_is_tied_by_its_places(tmp_path: Path) -> None:
    table = votes(tmp_path)  # a, b and c are one island, d and e another
    chance = np.random.default_rng(0)
    heads = Heads(chance.normal(size=(5, 4)), chance.normal(size=5))
    tied = tied_islands(heads, table, np.array([0.0, 1.0, 2.0, 3.0, 5.0]))
    assert np.array_equal(tied.weight[:3], heads.weight[:3])
    np.testing.assert_allclose(tied.weight[3:].mean(axis=0), heads.weight[:3].mean(axis=0))
    np.testing.assert_allclose(tied.bias[3:].mean(), heads.bias[:3].mean() + 3.0)
    np.testing.assert_allclose(
        tied.weight[3] - tied.weight[4], heads.weight[3] - heads.weight[4], atol=1e-12
    )


def test_a_large_source_can_weigh_less(tmp_path: Path) -> None:
    table = votes(tmp_path)
    assert balanced(table, 0.0).weight.tolist() == [1, 1, 1, 1]
    assert balanced(table, 0.0, 1.0).weight.tolist() == [0.5, 1, 1, 0.5]
    assert balanced(table, 1.0, 1.0).weight.tolist() == [0.5, 0.5, 1, 0.25]
    assert balanced(table, 0.0, 0.0, {"s": 0.3, "none": 2.0}).weight.tolist() == [0.3, 1, 1, 0.3]


def test_what_a_place_is_worth_is_what_the_known_models_say(tmp_path: Path) -> None:
    """On the first prompt a and b are known, one unit of place apart and three units of value: with
    a prior of 1 that weighs as much as they do, two units of value for one of place."""
    places = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    made = Strangers.of(votes(tmp_path), places, stiffness=0.5)
    right = torch.tensor([[5.0, 8.0, 6.5 + 3.0, 6.5 + 5.0, 6.5 + 7.0]])
    assert float(made.penalty(right, np.array([0]))) == pytest.approx(0.0, abs=1e-9)
    upside_down = torch.tensor([[8.0, 2.0, 5.0, 5.0, 5.0]])
    assert float(made.penalty(upside_down, np.array([0]))) == pytest.approx(0.0, abs=1e-9), (
        "a place is never worth less than nothing"
    )


def test_on_blanks_all_models_are_drawn_to_their_places(tmp_path: Path) -> None:
    places = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    made = Strangers.of(votes(tmp_path), places)
    assert float(made.blank_penalty(torch.tensor([[7.0, 8.0, 9.0, 10.0, 11.0]]))) == 0.0
    assert float(made.blank_penalty(torch.tensor([[7.0, 8.0, 9.0, 10.0, 16.0]]))) == 4.0
