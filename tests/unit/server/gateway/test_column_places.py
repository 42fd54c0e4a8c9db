"""A column's coefficient: by a row of its own effort, else by its model's row and a difference that
grows with the effort."""

from __future__ import annotations

import numpy as np
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard
from server.gateway.column_places import difference, place_of, placed_card
from server.gateway.places import Place, Places
from server.model_facts import EFFORTS, ModelFacts, facts_of


def places(*rows: str) -> Places:
    numbers = np.arange(len(rows), dtype=float)
    return Places(rows, PromptLeaderboard(PreferenceFamily.BT, rows, numbers))


def column(model: str, effort: str | None) -> ModelCard:
    name = model if effort is None else f"{model}:{effort}"
    return ModelCard(
        name=name, provider="p", upstream_model=model, leaderboard_name=model, prices=None,
        effort=effort,
    )  # fmt: skip


def test_the_difference_grows_with_the_effort() -> None:
    for at in EFFORTS:
        gains = [difference(at, effort) for effort in EFFORTS]
        assert gains == sorted(gains)
        assert len(set(gains)) == len(gains)
        assert difference(at, at) == 0.0


@pytest.mark.parametrize(
    ("effort", "rows", "row", "shift"),
    [
        # by itself the model thinks at medium
        ("low", ("gpt-5", "other"), "gpt-5", -0.2),
        ("medium", ("gpt-5", "other"), "gpt-5", 0.0),
        ("high", ("gpt-5", "other"), "gpt-5", 0.14),
        # rows of an effort, as others write them
        ("high", ("gpt-5", "gpt-5-high"), "gpt-5-high", 0.0),
        ("low", ("gpt-5", "gpt-5-high"), "gpt-5", -0.2),
        ("high", ("gpt-5", "gpt-5:high"), "gpt-5:high", 0.0),
        ("high", ("gpt-5", "GPT-5 (high reasoning)"), "GPT-5 (high reasoning)", 0.0),
        ("minimal", ("gpt-5", "gpt-5-thinking-minimal-effort"),
         "gpt-5-thinking-minimal-effort", 0.0),
        ("high", ("gpt-5", "gpt-5-mini-high", "gpt-5.2-high"), "gpt-5", 0.14),
        # only other efforts are known: the nearest of them
        ("medium", ("gpt-5-high", "gpt-5-minimal"), "gpt-5-high", -0.14),
        ("low", ("gpt-5-high", "other"), "gpt-5-high", -0.34),
    ],
)  # fmt: skip
def test_a_column_has_its_own_row_or_a_difference(
    effort: str, rows: tuple[str, ...], row: str, shift: float
) -> None:
    facts = facts_of("gpt-5")
    place, by = place_of(column("gpt-5", effort), places(*rows), facts.thinking)
    assert place == Place(row, "own")
    assert by == pytest.approx(shift)


def test_no_thinking_is_an_effort_of_none() -> None:
    for row in ("m-no-thinking", "m-nothinking", "m-non-reasoning", "m-none"):
        place, by = place_of(column("m", "none"), places("m", row))
        assert (place, by) == (Place(row, "own"), 0.0)


def test_a_model_that_thinks_only_when_asked_stands_for_none() -> None:
    thinking = facts_of("claude-opus-4-8").thinking
    _, by = place_of(column("claude-opus-4-8", "high"), places("claude-opus-4-8"), thinking)
    assert by == pytest.approx(0.84)


def test_a_model_without_a_row_takes_a_relatives_and_the_difference() -> None:
    facts: dict[str, ModelFacts] = {"gpt-6.1-sol": facts_of("gpt-6.1-sol")}
    rows = places("gpt-4o-2024-08-06", "claude-3-opus-20240229")
    low, high, plain = (
        placed_card(rows, facts, column("gpt-6.1-sol", effort)) for effort in ("low", "high", None)
    )
    assert {card.leaderboard_name for card in (low, high, plain)} == {"gpt-4o-2024-08-06"}
    assert low.coefficient_shift < plain.coefficient_shift < high.coefficient_shift
    assert (low.name, low.effort) == ("gpt-6.1-sol:low", "low")


@pytest.mark.parametrize("row", ["gpt-5.2-high", "gpt-5.2", "gpt-5.2-max", "gpt-5-no-thinking"])
def test_an_effort_moves_a_placed_model_whatever_its_relatives_row(row: str) -> None:
    thinking = facts_of("gpt-6.1-sol").thinking
    rows = places(row)
    place, low = place_of(column("gpt-6.1-sol", "low"), rows, thinking)
    _, high = place_of(column("gpt-6.1-sol", "high"), rows, thinking)
    assert place is not None
    assert (place.column, place.rests_on) == (row, "facts")
    assert high - low == pytest.approx(0.34)
    assert low - place.shift == pytest.approx(-0.2)


def test_an_empty_leaderboard_places_nothing() -> None:
    card = column("m", "low")
    assert placed_card(Places((), None), {}, card) == card
