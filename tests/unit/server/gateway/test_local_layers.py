from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard
from router.leaderboard_values import standing, worth_of_shifted
from router.objective import Objective
from server.gateway.local_frame import Frame, frame_of, start_of
from server.gateway.local_layers import ALL, LocalLayers, key_scope, profile_scope

COLUMNS = ("gpt-4o", "claude-sonnet-4", "gemini-2.5-pro", "unrated", "llama-3.1-8b")
USUAL = PromptLeaderboard(
    PreferenceFamily.GRK, COLUMNS, np.array([0.4, 0.9, 1.1, np.nan, -0.8]), eta=0.1, gamma=0.2
)


def card(name: str, column: str, shift: float = 0.0, **more: Any) -> ModelCard:
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=column, prices=None,
        coefficient_shift=shift, **more,
    )  # fmt: skip


CARDS = (
    card("gpt-4o", "gpt-4o"),
    card("claude-opus-5", "claude-sonnet-4", 0.5),
    card("ours", "llama-3.1-8b"),
    card("nobody", "unrated"),
)


@pytest.fixture
def frame() -> Frame:
    found = frame_of(CARDS, COLUMNS, USUAL)
    assert found is not None
    return found


def layers_on(frame: Frame) -> LocalLayers:
    layer = start_of(frame)()
    for _ in range(30):
        layer.learn_grade("ours", 1.0)
        layer.learn_grade("gpt-4o", 0.0)
    return LocalLayers("v1", {ALL: layer})


def test_only_models_that_stand_somewhere_are_in_the_frame(frame: Frame) -> None:
    assert frame.names == ("gpt-4o", "claude-opus-5", "ours")
    assert frame_of(CARDS, COLUMNS, None) is None
    assert frame_of([CARDS[3]], COLUMNS, USUAL) is None
    assert frame.known_as()["llama-3.1-8b"] == "ours"


def test_a_prompt_is_told_by_what_is_unusual_about_it(frame: Frame) -> None:
    assert frame.terms(frame.usual)[0] == 0.0
    difficulty, deviation = frame.terms(frame.usual + np.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    assert difficulty == pytest.approx(0.25)
    assert deviation == pytest.approx([0.75, -0.25, -0.25])


def test_a_prompt_is_told_by_expected_scores_where_there_are_any() -> None:
    usual = np.array([0.5, 0.6, 0.7, np.nan, np.nan])
    frame = frame_of(CARDS, COLUMNS, replace(USUAL, expected_scores=usual))
    assert frame is not None
    odds = np.log(usual) - np.log1p(-usual)
    told = 1.0 / (1.0 + np.exp(-(odds + np.array([1.5, 0.0, 0.0, 0.0, 0.0]))))
    difficulty, deviation = frame.terms(frame.said_by(USUAL.coefficients, told))
    assert difficulty == pytest.approx(0.5)
    assert deviation == pytest.approx([1.0, -0.5, 0.0]), "nothing is said of llama"
    difficulty, deviation = frame.terms(frame.said_by(USUAL.coefficients, None))
    assert difficulty == 0.0
    assert not deviation.any()


def test_the_leaderboard_places_a_model_that_facts_do_not_know(frame: Frame) -> None:
    strange = [card(f"x{k}", name) for k, name in enumerate(("first", "second", "third"))]
    board = replace(USUAL, models=("first", "second", "third"), coefficients=np.array([2.0, 0, -2]))
    found = frame_of(strange, board.models, board)
    assert found is not None
    members = start_of(found)().state.models
    places = [members[f"x{k}"].strength for k in range(3)]
    assert places[0] - places[1] > 0.6 < places[1] - places[2]


def test_values_are_the_layers_and_the_mean_stays_under_the_win_rate(frame: Frame) -> None:
    layers = layers_on(frame)
    board = replace(USUAL, coefficients=USUAL.coefficients + np.array([0.5, 0, 0, 0, -0.3]))
    shifts = layers.shifts(ALL, frame, board, is_absolute=False)
    assert shifts is not None
    known = standing(board, None, Objective.WIN_RATE)
    worth = worth_of_shifted(known, frame.cards, Objective.WIN_RATE, shifts)
    before = [0.9, 1.4, -1.1]
    assert sum(one.coefficient for one in worth.values()) == pytest.approx(sum(before))
    assert worth["ours"].coefficient > worth["claude-opus-5"].coefficient
    assert worth["gpt-4o"].coefficient < worth["claude-opus-5"].coefficient
    assert layers.shifts(ALL, frame, board, is_absolute=False) is shifts, "kept"


def test_p_good_is_what_the_layer_says_it_is(frame: Frame) -> None:
    layers = layers_on(frame)
    shifts = layers.shifts(ALL, frame, USUAL, is_absolute=False)
    good = layers.shifts(ALL, frame, USUAL, is_absolute=True)
    assert shifts is not None
    assert good is not None
    known = standing(USUAL, None, Objective.P_GOOD)
    worth = worth_of_shifted(known, frame.cards, Objective.P_GOOD, shifts, good)
    by_rate = worth_of_shifted(standing(USUAL, None, Objective.WIN_RATE), frame.cards,
                               Objective.WIN_RATE, shifts)  # fmt: skip
    assert [one.win_rate for one in worth.values()] == [one.value for one in by_rate.values()]
    expected = layers.by_scope[ALL].predict(frame.names).p_good
    assert [one.value for one in worth.values()] == pytest.approx(expected.tolist(), abs=1e-9)
    assert worth["ours"].value > 0.75
    assert worth["gpt-4o"].value < 0.25


def test_nothing_is_moved_by_a_layer_of_other_models_or_another_leaderboard(frame: Frame) -> None:
    layers = layers_on(frame)
    more = frame_of([*CARDS, card("new", "gpt-4o", 0.1)], COLUMNS, USUAL)
    assert more is not None
    assert layers.shifts(ALL, more, USUAL, is_absolute=False) is None
    other = replace(USUAL, models=(*COLUMNS[:-1], "other"))
    assert layers.shifts(ALL, frame, other, is_absolute=False) is None


def test_a_keys_own_layer_comes_before_its_profiles_and_that_before_all() -> None:
    some = layers_on(frame_of(CARDS, COLUMNS, USUAL)).by_scope[ALL]  # type: ignore[arg-type]
    scopes = (key_scope("a"), profile_scope("p"), ALL)
    layers = LocalLayers("v", dict.fromkeys(scopes, some))
    assert layers.scope("a", "p") == "key:a"
    assert layers.scope("b", "p") == "profile:p"
    assert layers.scope("b", None) == ALL
    assert LocalLayers().scope("a", "p") is None
