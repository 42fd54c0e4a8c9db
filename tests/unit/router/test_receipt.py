"""A receipt replays bit for bit, through JSON, and tells of every change made to it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import BudgetMode, Decision, Objective, RoutingRequest, decide
from router.constraints import Constraints, FurtherBudget
from router.cost import RequestShape
from router.errors import RouterError
from router.receipt import Attempt, InvalidReceiptError, build_receipt, replay
from router.receipt_form import digest, fold, request_json, requests_adapter, unfold

MOVED_BY_TASTE = Path(__file__).parent / "moved_by_taste.json"
ABOUT = {"request_id": "req_1", "created": 1}


def world(seed: int) -> tuple[PromptLeaderboard, tuple[ModelCard, ...], RoutingRequest]:
    """A leaderboard with gaps, a catalogue with unknowns and a request, all random."""
    chance = random.Random(seed)
    size = chance.randint(2, 12)
    names = tuple(f"m{k}" for k in range(size))
    numbers = np.random.default_rng(seed)
    board = PromptLeaderboard(
        PreferenceFamily.GRK,
        names,
        numbers.normal(size=size) * 3,
        eta=float(numbers.normal()),
        expected_output_tokens=np.where(numbers.random(size) < 0.2, np.nan, 90.1 / 7),
        expected_scores=numbers.random(size),
        variance=chance.choice([None, numbers.random(size)]),
    )
    cards = tuple(card(name, chance) for name in (*names[:-1], "stranger"))
    request = RoutingRequest(
        shape=RequestShape(
            input_tokens=chance.randint(1, 3000),
            input_tokens_upper_bound=9000,
            max_output_tokens=chance.choice([None, 50]),
            n=chance.randint(1, 2),
            needs=frozenset(chance.sample(["tools", "vision"], chance.randint(0, 1))),
        ),
        budget_usd=chance.choice([None, Decimal("0.01"), Decimal("0.10000000000000000001")]),
        budget_mode=chance.choice(list(BudgetMode)),
        opponents=chance.choice([None, {"m0": 1.0, "m1": 0.3}]),
        excluded={"m1": "resting"} if chance.random() < 0.3 else {},
        usd_per_win=chance.choice([None, Decimal("0.02")]),
        objective=chance.choice(list(Objective)),
        cached_tokens={"m0": 7},
        caching=chance.choice([{}, {"m0": 300, "m1": 3600}]),
        further_requests=chance.choice([0.0, 2.25]),
        held=chance.choice([None, "m0"]),
        min_gain=0.02,
        draw_budget_usd=chance.choice([None, Decimal("0.004")]),
        coefficient_shifts=chance.choice([{}, {"m0": (0.1 + 0.2, 1 / 3), "m1": (-1.7, 0.0)}]),
        value_shifts=chance.choice([{}, {"m0": (2.1 / 7, 1.3)}]),
    )
    return board, cards, request


def card(name: str, chance: random.Random) -> ModelCard:
    price = Decimal(chance.randint(1, 10**6)) / 10**5
    prices = Prices(
        input_usd_per_mtok=price,
        output_usd_per_mtok=3 * price,
        cached_input_usd_per_mtok=chance.choice([None, price / 10]),
        cache_write_usd_per_mtok=chance.choice([None, price * 5 / 4]),
    )
    return ModelCard(
        name=name,
        provider="p",
        upstream_model=f"up-{name}",
        leaderboard_name=name,
        prices=None if chance.random() < 0.1 else prices,
        context_window=chance.choice([None, 4000]),
        capabilities=chance.choice([None, frozenset({"tools"})]),
    )


def decided(seed: int) -> tuple[Decision, dict[str, Any]] | None:
    """One decision and its receipt as it comes back from a store; None where it is refused."""
    board, cards, request = world(seed)
    try:
        decision = decide(board, cards, request, random.Random(seed))
    except RouterError:
        return None
    receipt = build_receipt(board, cards, [Attempt(decision)], seed=seed, about=ABOUT)
    return decision, json.loads(json.dumps(receipt, allow_nan=False))


@given(st.integers(0, 10**9))
@settings(max_examples=examples(60), deadline=None)  # the first one builds what reads receipts
def test_replays_bit_for_bit(seed: int) -> None:
    made = decided(seed)
    if made is None:
        return
    decision, receipt = made
    again = replay(receipt)
    assert again.differences == []
    assert again.models == [decision.model]


def made(seed: int = 5) -> dict[str, Any]:
    found = decided(seed)
    assert found is not None
    return found[1]


def _raise_a_price(receipt: dict[str, Any]) -> None:
    chosen = receipt["attempts"][0]["decision"]["model"]
    for entry in receipt["catalogue"]:
        if entry["name"] == chosen:
            entry["prices"]["output_usd_per_mtok"] = "99999"


def _nudge_a_coefficient(receipt: dict[str, Any]) -> None:
    row = receipt["leaderboard"]["coefficients"]
    row[0] = float(np.nextafter(row[0], 10.0))


def _rewrite_the_model(receipt: dict[str, Any]) -> None:
    receipt["attempts"][0]["decision"]["model"] = "m99"


def _change_the_seed(receipt: dict[str, Any]) -> None:
    receipt["seed"] += 1


@pytest.mark.parametrize(
    ("tamper", "path"),
    [
        (_raise_a_price, "attempts[0].decision"),
        (_nudge_a_coefficient, "attempts[0]"),
        (_rewrite_the_model, "attempts[0].model: recorded 'm99'"),
        (_change_the_seed, "attempts[0].draw"),
    ],
)
def test_every_change_shows(tamper: Callable[[dict[str, Any]], None], path: str) -> None:
    receipt = made()
    assert replay(receipt).differences == []
    tamper(receipt)
    differences = replay(receipt).differences
    assert differences
    assert any(path.replace(".decision", "") in text for text in differences)


def test_failover_is_part_of_it() -> None:
    board, cards, request = world(3)
    request = replace(request, objective=Objective.WIN_RATE, excluded={}, budget_usd=None)
    rng = random.Random(9)
    first = decide(board, cards, request, rng)
    rng.random()  # a decision that was refused took a draw
    without = replace(request, excluded={first.model: "it failed for this request"})
    second = decide(board, cards, without, rng)
    attempts = [Attempt(first, "UpstreamTimeoutError"), Attempt(second)]
    receipt = json.loads(json.dumps(build_receipt(board, cards, attempts, seed=9, about=ABOUT)))
    assert replay(receipt) == ([first.model, second.model], [])
    assert receipt["attempts"][0]["failure"] == "UpstreamTimeoutError"
    receipt["attempts"].reverse()
    assert replay(receipt).differences == [
        f"attempts[1].draw: {first.draw!r} is not a draw of the seed 9"
    ]


@pytest.mark.parametrize(
    "damage",
    [
        {"object": "route"},
        {"version": 2},
        {"attempts": [{}]},
        {"leaderboard": None},
        {"catalogue": [{"name": "m"}]},
    ],
)
def test_what_is_no_receipt(damage: dict[str, Any]) -> None:
    with pytest.raises(InvalidReceiptError):
        replay(made() | damage)


def test_stored_it_is_less_than_half_as_long() -> None:
    board, cards, request = big_world()
    attempts = [Attempt(decide(board, cards, request, random.Random(1)))]
    folded = fold(board, cards, attempts, seed=1, about=ABOUT)
    whole = build_receipt(board, cards, attempts, seed=1, about=ABOUT)
    once = {name: part for name, part in whole.items() if name != "catalogue"}
    assert len(json.dumps(folded.document)) < 0.5 * len(json.dumps(once))
    through_a_store = json.loads(json.dumps([folded.document, folded.common.document]))
    assert unfold(*through_a_store) == json.loads(json.dumps(whole))


def test_what_receipts_have_in_common_is_made_once_and_told_apart() -> None:
    board, cards, request = big_world()
    attempts = [Attempt(decide(board, cards, request, random.Random(1)))]
    first, again, fewer, renamed = (
        fold(leaderboard, catalogue, attempts, seed=1, about=ABOUT).common
        for leaderboard, catalogue in (
            (board, cards),
            (board, list(cards)),
            (board, cards[1:]),
            (replace(board, models=("other", *board.models[1:])), cards),
        )
    )
    assert first is again
    assert len({first.version, fewer.version, renamed.version}) == 3
    assert first.catalogue_version == renamed.catalogue_version != fewer.catalogue_version


def test_one_stored_by_an_older_release_is_read_as_it_was() -> None:
    receipt = made()
    stored = {name: part for name, part in receipt.items() if name != "catalogue"}
    assert unfold(stored, receipt["catalogue"]) == receipt


def test_one_from_before_models_could_be_moved_replays() -> None:
    """Neither its requests nor its catalogue say anything of shifts."""
    seed = next(n for n in range(99) if not world(n)[2].coefficient_shifts
                and not world(n)[2].value_shifts and decided(n) is not None)  # fmt: skip
    receipt = made(seed)
    for attempt in receipt["attempts"]:
        assert attempt["request"].pop("coefficient_shifts") == {}
        assert attempt["request"].pop("value_shifts") == {}
    for entry in receipt["catalogue"]:
        assert (entry.pop("coefficient_sd"), entry.pop("rests_on")) == (0.0, "")
    receipt["catalogue_version"] = digest(receipt["catalogue"])
    assert replay(receipt).differences == []


def test_one_whose_leaderboard_a_taste_had_moved_replays() -> None:
    """Written by the version that moved a key's leaderboards before it decided."""
    receipt = json.loads(MOVED_BY_TASTE.read_text())
    assert receipt["taste"]["shift"][0] < -2.0
    assert replay(receipt).differences == []


def big_world() -> tuple[PromptLeaderboard, tuple[ModelCard, ...], RoutingRequest]:
    """As large as what is served by default."""
    chance, numbers = random.Random(1), np.random.default_rng(1)
    names = tuple(f"some-company-model-{k}" for k in range(60))
    board = PromptLeaderboard(
        PreferenceFamily.GRK, names, numbers.normal(size=60), expected_output_tokens=np.ones(60) / 7
    )
    cards = tuple(card(name, chance) for name in names[:20])
    request = RoutingRequest(shape=RequestShape(input_tokens=6, input_tokens_upper_bound=40))
    return board, cards, request


@given(st.integers(0, 10**9))
@settings(max_examples=examples(60), deadline=None)
def test_what_was_asked_is_written_as_its_reader_would_write_it(seed: int) -> None:
    _, _, request = world(seed)
    rows = Constraints(
        max_latency_s=1.5,
        budgets=(FurtherBudget(name="b", amount_usd=Decimal("0.1"), models=("m0",)),),
    )
    for asked in (request, replace(request, constraints=rows, allowed=("m0", "m1"))):
        expected = requests_adapter().dump_python(asked, mode="json")
        assert json.dumps(request_json(asked)) == json.dumps(expected)


@given(st.integers(0, 10**9))
@settings(max_examples=examples(60), deadline=None)
def test_what_is_read_in_a_receipt_is_what_the_decision_says_of_itself(seed: int) -> None:
    found = decided(seed)
    if found is None:
        return
    decision, receipt = found
    told = receipt["attempts"][0]["decision"]
    assert told["explanation"] == decision.explanation
    assert [row["model"] for row in told["alternatives"]] == [
        row.model for row in decision.alternatives
    ]


NEW_FIELDS = ("draw_budget_usd", "caching", "further_requests", "held", "min_gain")


@given(st.integers(0, 10**9))
@settings(max_examples=examples(30), deadline=None)
def test_a_receipt_of_an_earlier_release_replays(seed: int) -> None:
    """Before a change of model had a price."""
    board, cards, request = world(seed)
    none = {"caching": {}, "further_requests": 0.0, "held": None, "min_gain": 0.0}
    board = replace(board, variance=None)
    asked = replace(request, **none, draw_budget_usd=None)
    try:
        decision = decide(board, cards, asked, random.Random(seed))
    except RouterError:
        return
    receipt = build_receipt(board, cards, [Attempt(decision)], seed=seed, about=ABOUT)
    for name in NEW_FIELDS:
        del receipt["attempts"][0]["request"][name]
    told = receipt["attempts"][0]["decision"]
    assert {"is_held", "warm_costs_usd", "mix_mean_cost_usd"}.isdisjoint(told)
    assert "variance" not in receipt["leaderboard"]
    assert replay(receipt).differences == []
