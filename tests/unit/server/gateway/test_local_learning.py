from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l_model.local.layer import LocalLayer
from p2l_model.preference import log_probabilities, outcomes
from p2l_model.types import FloatArray, PreferenceFamily
from server.config.settings import LearningSettings
from server.gateway.local_layers import ALL
from server.gateway.local_learning import DAY_US, Lesson, learn_layers, most_of_a_key

RULES = LearningSettings()
NAMES = ("good", "bad", "other")
START = partial(LocalLayer.start, NAMES, np.zeros(3), 0.4 * np.eye(3))
DAY = 20_000
HOUR_US = DAY_US // 24


def said(n: int, key: str, good: float = 1.0, bad: float = 0.0, **more: object) -> list[Lesson]:
    """n grades of each of the two models, in the hours before DAY."""
    fields: dict[str, Any] = {"profile": None, "source": None} | more
    return [
        Lesson(DAY * DAY_US - (n - k) * HOUR_US, key, model=model, score=score, **fields)
        for k in range(n)
        for model, score in (("good", good), ("bad", bad))
    ]


def layers(lessons: list[Lesson], rules: LearningSettings = RULES) -> dict[str, LocalLayer]:
    learnt = learn_layers(lessons, rules, START, DAY * DAY_US)
    return {scope: one.layer for scope, one in learnt.items()}


GRK = PreferenceFamily.GRK


def votes(key: str, worth: FloatArray, n: int, seed: int) -> list[Lesson]:
    """n votes on two of the models, by somebody to whom they are worth so much."""
    chance, found = np.random.default_rng(seed), []
    for k in range(n):
        a, b = chance.permutation(3)[:2].tolist()
        chances = np.exp(log_probabilities(GRK, worth[a], worth[b], 0.0))
        outcome = outcomes(GRK)[int((chances.cumsum() < chance.uniform()).sum())]
        at_us = DAY * DAY_US - (n - k) * HOUR_US
        pair = {"model": NAMES[a], "model_b": NAMES[b], "outcome": outcome}
        found.append(Lesson(at_us, key, None, None, **pair))
    return found


def gap(layer: LocalLayer) -> float:
    good, bad = layer.predict(("good", "bad")).p_good
    return float(good - bad)


def test_twenty_answers_of_several_keys_are_enough() -> None:
    few = said(4, "a") + said(5, "b")
    assert layers(few) == {}
    found = layers([*few, *said(1, "c")])
    assert list(found) == [ALL]
    assert gap(found[ALL]) > 0.3


def test_a_key_that_speaks_alone_moves_its_own_requests_only() -> None:
    assert list(layers(said(40, "loud"))) == ["key:loud"]


@pytest.mark.slow
def test_a_key_that_speaks_alone_moves_no_others_beside_a_judge_either() -> None:
    """Grades of a judge are of all; they do not carry the only key's feedback to the others."""
    judged = said(15, "", 0.8, 0.2, source="judge")
    found = layers([*judged, *said(40, "loud", 0.0, 1.0, profile="sql")])
    assert set(found) == {ALL, "key:loud"}
    assert found[ALL].state.to_bytes() == layers(judged)[ALL].state.to_bytes()
    assert gap(found["key:loud"]) < -0.3
    few = layers([*said(1, "", source="judge"), *said(40, "loud", 0.0, 1.0)])
    assert list(few) == ["key:loud"]


@pytest.mark.slow
def test_one_key_moves_the_others_by_no_more_than_its_share() -> None:
    """Two hundred answers against nine keys with ten each."""
    rules = RULES.model_copy(update={"own_layers_of": ["attacker"]})
    honest = [one for k in range(9) for one in said(5, f"key{k}")]
    attack = said(100, "attacker", good=0.0, bad=1.0)
    without, with_it = layers(honest, rules), layers(honest + attack, rules)
    assert gap(without[ALL]) > 0.5
    assert gap(with_it[ALL]) > 0.25, "the others' opinion stands"
    assert gap(with_it["key:attacker"]) < -0.5, "its own requests follow its own"
    assert with_it[ALL].state.n_answers == 90 + 20


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_no_key_has_more_than_two_shares(counts: list[int]) -> None:
    most, n = most_of_a_key(counts), len(counts)
    kept = [min(count, most) for count in counts]
    assert max(kept) * (n + 1) <= 2 * sum(kept)
    if most < max(counts):
        more = [min(count, most + 1) for count in counts]
        assert max(more) * (n + 1) > 2 * sum(more), "no answer is left out without need"


def test_judges_grades_are_the_gateways_own_and_have_a_level_of_their_own() -> None:
    strict = said(15, "shadow", 0.4, 0.1, source="strict")
    found = layers(strict)
    assert list(found) == [ALL]
    assert set(found[ALL].state.source_at) == {"strict"}
    assert found[ALL].state.n_answers == 30


def test_a_profile_with_enough_answers_has_its_own_layer() -> None:
    rules = RULES.model_copy(update={"own_layers_of": []})
    usual = said(20, "a") + said(20, "b")
    other = [*said(12, "a", 0.0, 1.0, profile="sql"), *said(12, "b", 0.0, 1.0, profile="sql")]
    found = layers(usual + other, rules)
    assert set(found) >= {ALL, "profile:sql"}
    assert gap(found[ALL]) > gap(found["profile:sql"])
    assert gap(found["profile:sql"]) < 0.1


def test_one_loud_key_does_not_empty_the_layer_of_a_profile() -> None:
    """Of its hundred answers two count beside the only one of another key: too few."""
    rules = RULES.model_copy(update={"own_layers_of": []})
    usual = [one for k in range(9) for one in said(10, f"key{k}")]
    loud = said(50, "loud", 0.0, 1.0, profile="sql")
    found = layers([*usual, *loud, *said(1, "key0", profile="sql")], rules)
    assert "profile:sql" not in found
    assert gap(found[ALL]) > 0.25


@pytest.mark.slow
def test_old_answers_fade() -> None:
    old = [
        Lesson((DAY - 240 + k % 3) * DAY_US, f"k{k % 2}", None, None, m, score=s)
        for k in range(60)
        for m, s in (("good", 0.9), ("bad", 0.2))
    ]
    forgetful = layers(old, RULES.model_copy(update={"half_life_days": 30.0}))[ALL]
    faithful = layers(old, RULES.model_copy(update={"half_life_days": 10_000.0}))[ALL]
    assert 0.0 < gap(forgetful) < gap(faithful) - 0.1
    assert forgetful.predict(NAMES).sd[0] > 1.5 * faithful.predict(NAMES).sd[0]


def test_answers_fade_as_if_they_did_so_every_day() -> None:
    """For a week together, weighted by their ages, in place of day by day."""
    lessons = [
        Lesson((DAY - 50 + k) * DAY_US, f"k{k % 2}", None, None, NAMES[k % 3], score=k % 5 / 4)
        for k in range(50)
    ]
    found = layers(lessons, RULES.model_copy(update={"own_layers_of": []}))[ALL].predict(NAMES)
    daily = START()
    for one in lessons:
        daily.learn_grade(one.model, one.score or 0.0)
        daily.forget(1.0, RULES.half_life_days)
    expected, kept = daily.predict(NAMES), START()
    for one in lessons:
        kept.learn_grade(one.model, one.score or 0.0)
    assert found.mean == pytest.approx(expected.mean, abs=0.01)
    assert found.sd == pytest.approx(expected.sd, abs=0.003)
    assert np.all(kept.predict(NAMES).sd < expected.sd - 0.02), "if they did not fade"


def test_one_key_alone_cannot_make_a_model_seem_changed() -> None:
    """Not even with the latest of all answers; two keys can."""
    rules = RULES.model_copy(update={"own_layers_of": []})
    honest = [one for k in range(9) for one in said(8, f"key{k}")]
    later = [replace(one, at_us=one.at_us + 2 * DAY_US) for one in said(60, "attacker", 0.0, 1.0)]
    found = learn_layers(honest + later, rules, START, (DAY + 2) * DAY_US)[ALL]
    assert found.changed == {}
    assert gap(found.layer) > 0.25
    more = [replace(one, key_name=f"key{k % 9}") for k, one in enumerate(later)]
    found = learn_layers(honest + more, rules, START, (DAY + 2) * DAY_US)[ALL]
    assert set(found.changed) == {"good", "bad"}
    assert gap(found.layer) < -0.5


@pytest.mark.slow
def test_nor_for_the_only_other_key() -> None:
    honest = said(12, "own")
    later = [replace(one, at_us=one.at_us + 2 * DAY_US) for one in said(100, "attacker", 0.0, 1.0)]
    found = learn_layers(honest + later, RULES, START, (DAY + 2) * DAY_US)
    assert gap(found["key:own"].layer) > 0.25, "what it said is not taken for past"
    assert gap(found["key:attacker"].layer) < -0.5


def test_the_order_in_which_answers_are_read_changes_nothing() -> None:
    lessons = said(9, "a") + said(7, "b", 0.7, 0.4)
    one, other = layers(lessons)[ALL], layers(lessons[::-1])[ALL]
    assert one.state.to_bytes() == other.state.to_bytes()
    assert one.predict(NAMES).mean == pytest.approx(other.predict(NAMES).mean, abs=0.0)


@pytest.mark.slow
def test_planted_differences_are_found_and_what_all_share_moves_all() -> None:
    shared = np.array([1.5, -1.5, 0.0])
    planted = np.random.default_rng(5).normal(size=(4, 3))
    said = [one for k in range(4) for one in votes(f"key{k}", shared + planted[k], 30, k)]
    found = layers([*said, *votes("quiet", shared, 3, 99)])
    assert set(found) == {ALL, *(f"key:key{k}" for k in range(4))}, "three answers are too few"
    own = np.array([found[f"key:key{k}"].predict(NAMES).mean for k in range(4)])
    both = [x - x.mean(axis=1, keepdims=True) for x in (own, shared + planted)]
    assert (
        np.corrcoef((both[0] - both[0].mean(0)).ravel(), (both[1] - both[1].mean(0)).ravel())[0, 1]
        > 0.75
    )
    good, bad, other = found[ALL].predict(NAMES).mean
    assert good > other > bad, "what all keys say moves the layer of all"


@pytest.mark.slow
def test_keys_that_do_not_differ_share_the_layer_of_all() -> None:
    worth = np.array([1.0, -1.0, 0.0])
    alike = [one for k in range(4) for one in votes(f"key{k}", worth, 15, k)]
    assert list(layers(alike)) == [ALL]
    # but one of which not all answers count for all is not deprived of them
    loud = layers([*alike, *votes("loud", worth, 50, 9)])
    assert set(loud) == {ALL, "key:loud"}
    assert loud["key:loud"].state.n_answers == 110
    assert loud[ALL].state.n_answers < 110


def test_few_answers_are_enough_where_keys_differ() -> None:
    """Of the others' answers counts what they foresee of a key's own."""
    likers = [one for k in range(3) for one in said(10, f"key{k}", 0.9, 0.1)]
    haters = [one for k in range(3) for one in said(10, f"anti{k}", 0.1, 0.9)]
    found = layers([*likers, *haters, *said(5, "new", 0.1, 0.9)])
    assert abs(gap(found[ALL])) < 0.2
    assert gap(found["key:new"]) < -0.4
    assert gap(found["key:key0"]) > 0.5


def test_only_named_keys_have_layers_of_their_own() -> None:
    both = said(20, "a") + said(20, "b", 0.0, 1.0)
    assert set(layers(both)) == {ALL, "key:a", "key:b"}
    rules = RULES.model_copy(update={"own_layers_of": ["b", "nobody"]})
    assert set(layers(both, rules)) == {ALL, "key:b"}
    assert layers(said(40, "a"), rules) == {}


def test_what_a_key_said_of_a_model_before_it_changed_is_past() -> None:
    """Two other keys notice the change; the key itself has said nothing since."""
    rules = RULES.model_copy(update={"own_layers_of": ["own"]})
    old = [one for k in range(4) for one in said(15, f"key{k}", 0.9, 0.2)]
    old += said(15, "own", 0.2, 0.9)
    later = [
        replace(one, at_us=one.at_us + 3 * DAY_US)
        for k in range(2)
        for one in said(25, f"key{k}", 0.1, 0.2)
    ]
    found = learn_layers(old + later, rules, START, (DAY + 3) * DAY_US)
    assert "good" in found[ALL].changed
    assert set(found) > {"key:own"}
    without = [one for one in old if (one.key_name, one.model) != ("own", "good")]
    expected = learn_layers(without + later, rules, START, (DAY + 3) * DAY_US)
    values = [one["key:own"].layer.predict(("good",)).mean[0] for one in (found, expected)]
    assert values[0] == pytest.approx(values[1], abs=0.3)
