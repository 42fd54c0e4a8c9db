"""The fit of a request at each effort is made once for models that are alike, and not at all for
columns that will not be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from router.catalog import ModelCard
from server.gateway.fits import Fitting
from server.model_facts import facts_of
from server.surfaces.chat.request import parse_chat_request
from server.upstream.base import Fit
from server.upstream.sandbox import SandboxUpstream


class Counting(SandboxUpstream):
    """Counts the looks at a request, by the effort in it."""

    looks: Counter[str | None]

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool = False) -> Fit:
        self.looks[body.get("reasoning_effort")] += 1
        return super().fit(body, model, bounded=bounded)


def card(model: str, effort: str | None = None) -> ModelCard:
    name = model if effort is None else f"{model}:{effort}"
    return ModelCard(
        name=name, provider="p", upstream_model=model, leaderboard_name=model, prices=None,
        effort=effort,
    )  # fmt: skip


CARDS = (
    card("gpt-6-luna", "low"), card("gpt-6-luna", "high"), card("gpt-5.6-luna", "low"),
    card("gpt-5.2"),
)  # fmt: skip


@pytest.fixture
def upstream() -> Counting:
    found = Counting("p")
    found.looks = Counter()
    return found


@pytest.fixture
def fitting(upstream: Counting) -> Fitting:
    return Fitting({"p": upstream}, {one.name: facts_of(one.base) for one in CARDS})


def test_each_column_is_sent_its_effort(fitting: Fitting, upstream: Counting) -> None:
    request = parse_chat_request({"model": "p2l", "messages": [{"role": "user", "content": "x"}]})
    fits = fitting.fits(request, CARDS, bounded=False)
    efforts = [fits[one.name].effort for one in CARDS]
    assert efforts == ["low", "high", "low", None]
    sent = [(fits[one.name].body or {}).get("reasoning_effort") for one in CARDS]
    assert sent == ["low", "high", "low", None]
    assert upstream.looks == {"low": 1, "high": 1, None: 1}, "two models are alike"


def test_a_pinned_effort_is_sent_to_models_without_columns(fitting: Fitting) -> None:
    request = parse_chat_request({"model": "p2l", "messages": [{"role": "user", "content": "x"}]})
    fits = fitting.fits(request, CARDS, bounded=False, effort="high")
    assert [fits[one.name].effort for one in CARDS] == ["low", "high", "low", "high"]


def test_a_column_that_is_ruled_out_costs_no_look(fitting: Fitting, upstream: Counting) -> None:
    request = parse_chat_request({"model": "p2l", "messages": [{"role": "user", "content": "x"}]})
    out = {"gpt-6-luna:low", "gpt-5.6-luna:low"}
    fits = fitting.fits(request, CARDS, bounded=False, ruled_out=out)
    assert fits.keys() == {one.name for one in CARDS}
    assert upstream.looks == {"high": 1, None: 1}


def test_without_a_provider_everything_can_be_said() -> None:
    request = parse_chat_request({"model": "p2l", "messages": [{"role": "user", "content": "x"}]})
    fits = Fitting({}, {}).fits(request, CARDS, bounded=False)
    assert [fits[one.name].effort for one in CARDS] == ["low", "high", "low", None]
    assert all(fit.reason is None for fit in fits.values())
