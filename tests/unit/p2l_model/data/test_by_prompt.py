"""Votes by prompt: fewer of them count for all."""

from __future__ import annotations

import numpy as np
import pytest
from toy_votes import write_votes

from p2l_model.data.by_prompt import VoteIndex
from p2l_model.data.files import VoteTable, load_votes
from p2l_model.data.soft_labels import collapsed
from p2l_model.fitting.linear import FitOptions, HeadFit
from p2l_model.types import PreferenceFamily

GRK = PreferenceFamily.GRK


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> VoteTable:
    return load_votes([write_votes(tmp_path_factory.mktemp("votes") / "votes.jsonl", 300, 1)])


def test_a_draw_weighs_as_all_votes_do(votes: VoteTable) -> None:
    prompts = np.unique(votes.prompt)
    whole, drawn = VoteIndex(votes, GRK).batch(prompts), VoteIndex(votes, GRK, 1)
    weights = [float(drawn.batch(prompts).weight.sum()) for _ in range(200)]
    assert np.mean(weights) == pytest.approx(float(whole.weight.sum()), rel=0.03)
    assert len(drawn.batch(prompts).a) < 0.7 * len(whole.a)


def test_prompts_with_few_votes_keep_all(votes: VoteTable) -> None:
    prompts = np.unique(votes.prompt)
    whole, drawn = (VoteIndex(votes, GRK, n).batch(prompts) for n in (None, 10**6))
    assert whole.a.tolist() == drawn.a.tolist()
    assert whole.weight.tolist() == drawn.weight.tolist()


@pytest.mark.slow
def test_votes_of_a_pair_and_outcome_are_as_good_as_one(votes: VoteTable) -> None:
    few = collapsed(votes)
    assert len(few) <= 12 < len(votes)
    assert few.weight.sum() == pytest.approx(votes.weight.sum())
    fits = []
    for table in (votes, few):
        options = FitOptions(GRK, 1e-3, 0.03, 100)
        fit = HeadFit(np.zeros((len(table.conversations), 0)), table, options)
        state = fit.start()
        fit.run(state, 100, lambda now: None)
        fits.append(fit.heads(state))
    # What all models have in common is hardly determined by votes: only steps of the fit differ.
    apart = [fit.bias - fit.bias.mean() for fit in fits]
    np.testing.assert_allclose(apart[0], apart[1], atol=1e-3)
    np.testing.assert_allclose(fits[0].bias, fits[1].bias, atol=2e-2)
