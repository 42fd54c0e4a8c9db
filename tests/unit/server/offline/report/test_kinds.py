"""Kinds of prompts, where the files name none."""

from __future__ import annotations

import numpy as np

from p2l_model.types import Conversation
from server.offline.report.kinds import kinds_of


def test_prompts_that_the_checkpoint_reads_alike_are_a_kind() -> None:
    chance = np.random.default_rng(0)
    truth = np.arange(120) % 3
    hidden = 6.0 * chance.normal(size=(3, 20))[truth] + chance.normal(size=(120, 20))
    words = ("integrate function", "sonnet verse", "recipe oven")
    prompts = [Conversation((f"please {words[k]} {i}",)) for i, k in enumerate(truth.tolist())]
    found = kinds_of(np.array([""] * 120), prompts, hidden)
    names = {str(found[truth == k][0]) for k in range(3)}
    assert any("integrate" in name for name in names)
    assert all(len(set(found[truth == k].tolist())) <= 2 for k in range(3))
    assert not any("please" in name for name in found.tolist())


def test_named_kinds_are_kept_and_few_prompts_have_none() -> None:
    prompts = [Conversation((str(i),)) for i in range(10)]
    hidden = np.random.default_rng(0).normal(size=(10, 4))
    named = np.array(["a", "b"] * 5)
    assert kinds_of(named, prompts, hidden) is named
    assert set(kinds_of(np.array([""] * 10), prompts, hidden).tolist()) == {""}
