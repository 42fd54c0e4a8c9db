"""Budgets in the mean over whole jobs, kept by the gateway's own objects."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from played_jobs import PlayedJobs, Spent, card, receipt_of, said, spent_of

from router.receipt import replay

# A question of 400 tokens: 0.0004 USD at the cheap model, 0.004 at the dear one.
QUESTION = [{"role": "user", "content": "word " * 320}]
CARDS = (card("cheap", 1), card("dear", 10))
COEFFICIENTS = {"cheap": 0.0, "dear": 1.0}
BUDGET = Decimal("0.0016")
Length = Callable[[str], int]


async def job_of(played: PlayedJobs, name: str, length: Length, caller: str = "me") -> list[Spent]:
    """Plays one job. length: requests by the model of the first one."""
    first = await played.ask(QUESTION, caller, session=name, budget_usd=BUDGET)
    found = [spent_of(first)]
    for _ in range(length(first.decision.model) - 1):
        again = await played.ask(QUESTION, caller, session=name, budget_usd=BUDGET)
        assert again.decision.model == first.decision.model, "a job has one draw"
        found.append(spent_of(again))
    return found


async def shares_of(n_jobs: int, play: Callable[[str], Awaitable[list[Spent]]]) -> list[float]:
    """What is spent over what was granted, after each job."""
    spent = granted = 0.0
    found = []
    for job in range(n_jobs):
        requests = await play(f"job {job}")
        spent += sum(one.chosen for one in requests)
        granted += sum(one.granted for one in requests)
        found.append(spent / granted)
    return found


def by_model(model: str) -> int:
    return 40 if model == "dear" else 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_jobs_that_are_longer_with_the_dear_model_keep_their_budgets(seed: int) -> None:
    """Costs of 1 and 10, a budget of 4, jobs of 40 requests with the dear model and of 10 with the
    cheap one. Without an account 1.75 times the budgets would be spent."""
    played = PlayedJobs(CARDS, COEFFICIENTS, seed)
    found = await shares_of(600, lambda name: job_of(played, name, by_model))
    assert found[-1] == pytest.approx(1.0, rel=0.02)


async def test_the_account_goes_on_after_a_reload_and_is_the_keys_own() -> None:
    played = PlayedJobs(CARDS, COEFFICIENTS)
    await shares_of(40, lambda name: job_of(played, name, by_model))
    again = PlayedJobs(CARDS, COEFFICIENTS, previous=played)
    lowered = await again.ask(QUESTION, session="new", budget_usd=BUDGET)
    draw_usd = lowered.decision.request.draw_budget_usd
    assert draw_usd is not None
    assert draw_usd < BUDGET
    assert lowered.decision.budget_usd == BUDGET
    other = await again.ask(QUESTION, "you", session="new", budget_usd=BUDGET)
    assert other.decision.request.draw_budget_usd is None
    own = await again.ask(QUESTION, session="another", budget_usd=BUDGET, seed=3)
    assert own.decision.request.draw_budget_usd is None, "a seed is the caller's own draw"


async def test_a_job_keeps_what_its_first_draw_had() -> None:
    played = PlayedJobs(CARDS, COEFFICIENTS)
    early = await played.ask(QUESTION, session="early", budget_usd=BUDGET)
    assert early.decision.request.draw_budget_usd is None
    await shares_of(40, lambda name: job_of(played, name, by_model))
    late = await played.ask(QUESTION, session="late", budget_usd=BUDGET)
    kept_usd = late.decision.request.draw_budget_usd
    assert kept_usd is not None
    for _ in range(30):
        await played.ask(QUESTION, session="early", budget_usd=BUDGET)
    again = await played.ask(QUESTION, session="early", budget_usd=BUDGET)
    assert again.decision.request.draw_budget_usd is None
    same = await played.ask(QUESTION, session="late", budget_usd=BUDGET)
    assert same.decision.request.draw_budget_usd == kept_usd


async def test_a_receipt_holds_the_lowered_budget_and_replays() -> None:
    played = PlayedJobs(CARDS, COEFFICIENTS)
    await shares_of(40, lambda name: job_of(played, name, by_model))
    shown = await played.ask(QUESTION, session="new", budget_usd=BUDGET, answered=False)
    real = await played.ask(QUESTION, session="new", budget_usd=BUDGET)
    receipt = receipt_of(real)
    asked = receipt["attempts"][0]["request"]
    assert Decimal(asked["draw_budget_usd"]) < Decimal(asked["budget_usd"]) == BUDGET
    assert replay(receipt).differences == []
    assert shown.decision.request.draw_budget_usd == real.decision.request.draw_budget_usd
    assert shown.decision.mix == real.decision.mix
    asked["draw_budget_usd"] = None
    assert replay(receipt).differences != []


@pytest.mark.parametrize("n_jobs", [300, pytest.param(1_500, marks=pytest.mark.slow)])
async def test_the_mean_of_jobs_is_the_sum_of_mix_times_cost(n_jobs: int) -> None:
    """Where how long a job is does not depend on the model, with the account at work."""
    chance = random.Random(4)
    played = PlayedJobs(CARDS, COEFFICIENTS, seed=5)
    differences = []
    for job in range(n_jobs):
        length = chance.randint(1, 8)
        requests = await job_of(played, f"job {job}", lambda _, n=length: n)
        differences.append(sum(one.chosen - one.mix for one in requests))
    error = float(np.std(differences)) / len(differences) ** 0.5
    assert abs(float(np.mean(differences))) <= 4 * error


async def test_slack_budgets_and_single_requests_are_as_they_were() -> None:
    played = PlayedJobs(CARDS, COEFFICIENTS)
    rich = await played.ask(QUESTION, session="rich", budget_usd=Decimal(1))
    assert rich.decision.mix == {"dear": 1.0}
    alone = await played.ask(QUESTION, budget_usd=BUDGET)
    assert alone.decision.mix["dear"] == pytest.approx(1 / 3, abs=0.01)
    assert said(alone) == "new"


@pytest.mark.slow
async def test_single_requests_never_overdraw_by_chance() -> None:
    """The mix of each is the optimum of its budget, however the draws before it went."""
    played = PlayedJobs(CARDS, COEFFICIENTS)
    models = set()
    for k in range(1_000):
        alone = await played.ask(QUESTION, session=f"job {k}", budget_usd=BUDGET)
        assert alone.decision.request.draw_budget_usd is None
        assert alone.decision.mix_expected_cost_usd == pytest.approx(BUDGET)
        models.add(alone.decision.model)
    assert len(models) == 2


@pytest.mark.slow
async def test_a_tool_loop_is_not_left_whatever_moves() -> None:
    """Mixed models under a budget, while caches come and go and the account moves."""
    chance = random.Random(9)
    cards = (
        card("cheap", 1, cached_input_usd_per_mtok=Decimal("0.1")),
        card("dear", 10, cached_input_usd_per_mtok=Decimal(1)),
    )
    played = PlayedJobs(cards, COEFFICIENTS)
    models: set[str] = set()
    for job in range(150):
        messages = [{"role": "user", "content": f"{job} " + "word " * chance.choice([10, 4_000])}]
        before, budget = None, Decimal(chance.choice(["0.0085", "0.012"]))
        for step in range(12):
            call = f"call {job} {step}"
            exchange = await played.ask(
                messages, session=f"job {job}", call=call, budget_usd=budget
            )
            assert before in (None, exchange.decision.model)
            assert said(exchange) == ("new" if before is None else "tool_loop")
            before = exchange.decision.model
            played.now_s += chance.choice([1.0, 400.0])
            messages = [*messages, *results_of(call, "found " * chance.choice([1, 200]))]
        models.add(before)
    assert models == {"cheap", "dear"}


def results_of(call: str, text: str) -> list[dict[str, Any]]:
    function = {"name": "look", "arguments": "{}"}
    asked = [{"id": call, "type": "function", "function": function}]
    return [
        {"role": "assistant", "content": None, "tool_calls": asked},
        {"role": "tool", "tool_call_id": call, "content": text},
    ]


async def test_requests_that_come_at_once_share_the_budget_of_their_session() -> None:
    """Both are planned before either is decided, and the account has moved in between."""
    played = PlayedJobs(CARDS, COEFFICIENTS)
    await shares_of(40, lambda name: job_of(played, name, by_model))
    jobs, plans = played.planner.jobs, []
    from server.auth.authenticator import Caller
    from server.surfaces.chat.request import parse_chat_request
    from server.surfaces.routing_options import RoutingOptions

    request = parse_chat_request({"model": "p2l", "messages": QUESTION})
    options = RoutingOptions(session="both", budget_usd=BUDGET)
    plans.append(await played.planner.plan(request, options, Caller("me")))
    await shares_of(3, lambda name: job_of(played, f"more {name}", lambda _: 10))
    plans.append(await played.planner.plan(request, options, Caller("me")))
    assert plans[0].routing.draw_budget_usd != plans[1].routing.draw_budget_usd
    for plan in plans:
        jobs.enter(plan)
    assert plans[0].routing.draw_budget_usd == plans[1].routing.draw_budget_usd
    assert plans[0].seed == plans[1].seed
