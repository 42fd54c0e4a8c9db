"""Traffic through the real planner, router and layer: a model gets worse under its name, another
one dearer, and what is chosen follows."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from p2l_model.engine.scorer import FixedScorer
from router.catalog import ModelCard, Prices
from router.choice import decide
from server.auth.authenticator import Caller
from server.config.settings import LearningSettings, RoutingSettings, ScorerSettings
from server.gateway.local_frame import start_of
from server.gateway.local_layers import ALL, LocalLayers
from server.gateway.local_learning import DAY_US, Lesson, learn_layers
from server.gateway.planner import Planner
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions

RULES = LearningSettings()
SEED = 7
KEYS = ("a", "b", "c")
ANSWERS_A_DAY = 25
RELEARNT_EVERY = 40
FIRST_DAY_US = 20_000 * DAY_US


def card(name: str, usd: str) -> ModelCard:
    prices = Prices(input_usd_per_mtok=Decimal(usd) / 5, output_usd_per_mtok=Decimal(usd))
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=prices,
        expected_output_tokens=500,
    )  # fmt: skip


class Traffic:
    """Requests of three keys; each answer is rated good or bad. quality: the chance of a good
    answer, by model."""

    def __init__(self, cards: list[ModelCard], quality: dict[str, float]) -> None:
        self.cards, self.quality = cards, quality
        self._chance = random.Random(SEED)
        self._lessons: list[Lesson] = []
        scorer = FixedScorer({"best": 0.3, "second": 0.2, "third": 0.0, "cheap": -0.8})
        routing = RoutingSettings(usd_per_win=Decimal("0.01"))
        self.planner = Planner(cards, routing, ScorerSettings(), scorer)

    async def run(self, n: int) -> dict[str, float]:
        """The share of each model in the last 50 of n requests."""
        chosen = [await self._one() for _ in range(n)][-50:]
        return {one.name: chosen.count(one.name) / len(chosen) for one in self.cards}

    async def _one(self) -> str:
        n = len(self._lessons)
        key = KEYS[n % len(KEYS)]
        at_us = FIRST_DAY_US + n * DAY_US // ANSWERS_A_DAY
        if n % RELEARNT_EVERY == 0:
            self._learn(at_us)
        request = parse_chat_request(
            {"model": "p2l", "messages": [{"role": "user", "content": "Hi"}]}
        )
        plan = await self.planner.plan(request, RoutingOptions(), Caller(key))
        board, _ = await self.planner.leaderboard(plan)
        decision = decide(board, plan.catalogue, plan.routing, self._chance)
        good = self._chance.random() < self.quality[decision.model]
        self._lessons.append(Lesson(at_us, key, None, None, decision.model, score=float(good)))
        return decision.model

    def _learn(self, at_us: int) -> None:
        frame = self.planner.frame()
        assert frame is not None
        found = learn_layers(self._lessons, RULES, start_of(frame), at_us)
        layers = {scope: one.layer for scope, one in found.items()}
        changed = found[ALL].changed if found else {}
        self.planner.local = LocalLayers(str(len(self._lessons)), layers, changed)


@pytest.mark.slow
async def test_traffic_leaves_a_model_that_gets_worse_and_one_that_gets_dearer() -> None:
    cards = [card("best", "4"), card("second", "3.6"), card("third", "3.3"), card("cheap", "1")]
    traffic = Traffic(cards, {"best": 0.9, "second": 0.85, "third": 0.8, "cheap": 0.3})
    assert (await traffic.run(200))["best"] > 0.9
    assert traffic.planner.local.changed == {}

    traffic.quality["best"] = 0.4
    after = await traffic.run(200)
    assert after["best"] < 0.1, "within 200 answers it is noticed"
    assert "best" in traffic.planner.local.changed
    assert max(after, key=after.__getitem__) in ("second", "third")

    favourite = max(after, key=after.__getitem__)
    dearer = {"second": card("second", "10.8"), "third": card("third", "9.9")}[favourite]
    traffic.planner.serve([dearer if one.name == favourite else one for one in cards])
    assert (await traffic.run(60))[favourite] < 0.1
