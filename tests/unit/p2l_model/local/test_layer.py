from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.layer import LocalLayer, mean_chance
from p2l_model.local.likelihood import Verdict
from p2l_model.local.prior import settled
from p2l_model.local.terms import PromptTerms
from p2l_model.types import Outcome, PreferenceFamily

NAMES = tuple("abcdefgh")
OUTCOMES = (Outcome.MODEL_A, Outcome.MODEL_B, Outcome.TIE, Outcome.TIE_BOTHBAD)
PLACES = np.linspace(1.5, -1.5, len(NAMES))


def start(sd: float = 0.6) -> LocalLayer:
    return LocalLayer.start(NAMES, PLACES, sd**2 * np.eye(len(NAMES)))


def test_the_order_of_places_holds_before_any_answer() -> None:
    found = start().predict(NAMES)
    assert np.all(np.diff(found.p_good) < 0)
    assert np.all(found.sd > 0.9)


def test_answers_find_the_truth_and_narrow_the_interval() -> None:
    chance = np.random.default_rng(1)
    truth = np.array([0.3, 2.0, 0.0, 1.0, -1.0, 0.5, -0.5, 1.5])
    layer = start()
    before = layer.predict(NAMES).sd
    for n in range(800):
        m = n % len(NAMES)
        layer.learn_grade(NAMES[m], float(chance.random() < 1 / (1 + np.exp(-truth[m]))))
    found = layer.predict(NAMES)
    assert found.mean == pytest.approx(truth, abs=0.5)
    assert np.all(found.sd < before / 2.5)
    assert layer.state.n_answers == 800
    assert layer.state.models["a"].n_answers == 100


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    inside = []
    for seed in range(40):
        chance = np.random.default_rng(seed)
        strength = PLACES + 0.6 * chance.normal(size=len(NAMES))
        truth = 0.6 + chance.normal() + 0.45 * strength
        layer = start()
        for _ in range(60):
            m = int(chance.integers(len(NAMES)))
            layer.learn_grade(NAMES[m], float(chance.random() < 1 / (1 + np.exp(-truth[m]))))
        found = layer.predict(NAMES)
        inside += (np.abs(found.mean - truth) <= 1.2816 * found.sd).tolist()
    assert 0.72 < np.mean(inside) < 0.92


def test_votes_order_models_and_find_the_level() -> None:
    chance = np.random.default_rng(3)
    truth = np.array([-1.0, 1.5])
    layer = LocalLayer.start(("a", "b"), np.zeros(2), 0.5 * np.eye(2))
    x, y = np.exp(truth)
    tau = 2.0
    wins = (x / (x + tau * y + 1), y / (y + tau * x + 1), 1 / (1 + x + y))
    for _ in range(250):
        drawn = chance.choice(4, p=[*wins[:2], 1 - sum(wins), wins[2]])
        outcome = OUTCOMES[drawn]
        layer.learn_vote("a", "b", outcome, eta=0.0)
    found = layer.predict(("a", "b"))
    assert found.mean == pytest.approx(truth, abs=0.4)


def test_ties_of_good_answers_are_no_half_wins() -> None:
    layer = start()
    before = layer.predict(NAMES).p_good
    for _ in range(30):
        layer.learn_vote("a", "b", Outcome.TIE)
    lifted = layer.predict(NAMES).p_good
    assert np.all(lifted > before)
    for _ in range(90):
        layer.learn_vote("a", "b", Outcome.TIE_BOTHBAD)
    assert np.all(layer.predict(NAMES).p_good < lifted)


def hard_and_easy(layer: LocalLayer, helps: float, n: int) -> None:
    chance = np.random.default_rng(5)
    for _ in range(n):
        difficulty, m = float(chance.normal()), int(chance.integers(len(NAMES)))
        value = 0.5 + helps * difficulty
        score = float(chance.random() < 1 / (1 + np.exp(-value)))
        layer.learn_grade(NAMES[m], score, PromptTerms(difficulty))


def test_what_the_checkpoint_says_of_a_model_counts_until_answers_deny_it() -> None:
    def gap(layer: LocalLayer) -> float:
        told = PromptTerms(0.0, {"d": 1.0, "e": -1.0})
        values, usual = layer.predict(NAMES, told).mean, layer.predict(NAMES).mean
        return float((values - usual)[3] - (values - usual)[4])

    before, layer = gap(start()), start()
    chance = np.random.default_rng(7)
    for _ in range(400):
        m = int(chance.integers(len(NAMES)))
        terms = PromptTerms(0.0, {NAMES[m]: float(chance.choice([-1.0, 1.0]))})
        layer.learn_grade(NAMES[m], float(chance.random() < 0.6), terms)
    assert 0.2 < before < 1.0
    assert abs(gap(layer)) < before / 2


def test_a_head_learns_where_its_model_is_better_than_usual_and_moves_no_other() -> None:
    chance = np.random.default_rng(17)
    layer = LocalLayer.start(("a", "b"), np.zeros(2), 0.3 * np.eye(2), n_axes=2)
    here, there = (PromptTerms(axes=np.array([2.0 * sign, 0.0])) for sign in (1.0, -1.0))
    for n in range(400):
        layer.learn_grade("a", float(chance.random() < (0.9 if n % 2 else 0.4)),
                          here if n % 2 else there)  # fmt: skip
        layer.learn_grade("b", float(chance.random() < 0.6), here if n % 2 else there)
    mean, covariance = layer.head("a")
    assert mean[0] > 0.3 > 0.15 > abs(mean[1])
    assert covariance[0, 0] < covariance[1, 1]
    gaps = layer.predict(("a", "b"), here).mean - layer.predict(("a", "b"), there).mean
    assert gaps[0] > 1.0 > 0.4 > abs(gaps[1])


def test_values_that_are_settled_stay_and_teach_the_head_of_the_new_model() -> None:
    chance = np.random.default_rng(19)
    layer = LocalLayer.start(("new",), np.zeros(1), np.zeros((1, 1)), 1, [settled()])
    layer.join("known", 0.0, np.zeros(2))
    terms = PromptTerms(deviation={"new": 0.0, "known": 1.0}, axes=np.ones(1))
    eye = np.eye(2)
    for _ in range(300):
        wins = int(chance.random() < 1 / (1 + np.exp(-0.5)))
        layer.learn_verdict("new", "known", Verdict(eye[1 - wins], PreferenceFamily.BT), terms)
    found = layer.predict(("new", "known"), terms)
    assert found.mean == pytest.approx([1.5, 1.0], abs=0.25)
    assert found.sd[0] > 0.05 > 1e-4 > found.sd[1]


def test_the_checkpoint_is_believed_where_it_helps_and_nowhere_else() -> None:
    easy, hard = PromptTerms(1.5), PromptTerms(-1.5)
    helped, deceived, fresh = start(), start(), start()
    hard_and_easy(helped, 1.0, 300)
    hard_and_easy(deceived, 0.0, 300)
    gap = [float((o.predict(NAMES, easy).mean - o.predict(NAMES, hard).mean)[0])
           for o in (fresh, helped, deceived)]  # fmt: skip
    assert gap[0] == pytest.approx(0.0, abs=1e-9)
    assert gap[1] == pytest.approx(3.0, abs=0.9)
    assert abs(gap[2]) < 0.35


def test_votes_tell_whether_the_checkpoint_is_right_too() -> None:
    """A layer that only hears votes comes to believe a checkpoint that foresees them."""
    told, deaf = start(), start()
    chance = np.random.default_rng(4)
    for _ in range(150):
        a, b = chance.permutation(len(NAMES))[:2].tolist()
        deviation = 1.5 * chance.normal(size=2)
        outcome = OUTCOMES[int(deviation[0] < deviation[1])]
        pair = NAMES[a], NAMES[b]
        told.learn_vote(
            *pair, outcome, 0.0, PromptTerms(0.0, dict(zip(pair, deviation, strict=True)))
        )
        wrong = PromptTerms(0.0, dict(zip(pair, chance.normal(size=2), strict=True)))
        deaf.learn_vote(*pair, outcome, 0.0, wrong)
    says = PromptTerms(0.0, {"d": 1.0, "e": -1.0})
    gaps = []
    for layer in (told, deaf):
        values = layer.predict(NAMES, says).mean - layer.predict(NAMES).mean
        gaps.append(float(values[3] - values[4]))
    assert gaps[0] > 1.4
    assert abs(gaps[1]) < 0.5
    assert told.log_evidence > deaf.log_evidence + 20


def test_somebody_who_may_differ_begins_with_what_all_say_and_goes_back_to_it() -> None:
    layer = start()
    for _ in range(40):
        layer.learn_grade("a", 0.0)
        layer.learn_grade("b", 1.0)
    stored = layer.state.to_bytes()
    same, other = layer.apart(np.zeros((8, 8))), layer.apart(np.eye(8))
    before = layer.predict(NAMES)
    assert other.predict(NAMES).mean == pytest.approx(before.mean)
    assert np.all(other.predict(NAMES).sd > before.sd + 0.3)
    for _ in range(6):
        same.learn_grade("a", 1.0)
        other.learn_grade("a", 1.0)
    assert other.log_evidence > same.log_evidence
    moved = other.predict(["a"]).mean[0]
    assert moved > same.predict(["a"]).mean[0] + 0.5 > before.mean[0] + 0.5
    other.forget(days=6_000.0)
    assert other.predict(NAMES).mean == pytest.approx(before.mean, abs=1e-3)
    assert layer.state.to_bytes() == stored, "nothing of it moves all"


def test_judges_have_levels_of_their_own() -> None:
    chance = np.random.default_rng(7)
    layer = start()
    for n in range(400):
        judge, level = ("kind", 2.0) if n % 2 else ("strict", -1.0)
        score = float(chance.random() < 1 / (1 + np.exp(-level)))
        layer.learn_grade(NAMES[n % 8], score, source=judge)
    kind, strict = (layer.predict(NAMES, source=one).p_good.mean() for one in ("kind", "strict"))
    assert kind == pytest.approx(0.88, abs=0.06)
    assert strict == pytest.approx(0.27, abs=0.06)
    assert strict < layer.predict(NAMES).p_good.mean() < kind
    assert layer.predict(NAMES, source="never heard").p_good == pytest.approx(
        layer.predict(NAMES).p_good
    )


def test_soft_scores_teach_faster_than_coins() -> None:
    soft, coins = start(), start()
    chance = np.random.default_rng(9)
    for n in range(240):
        m = n % 8
        soft.learn_grade(NAMES[m], 0.7 + 0.02 * float(chance.normal()))
        coins.learn_grade(NAMES[m], float(chance.random() < 0.7))
    assert soft.predict(NAMES).sd.max() < coins.predict(NAMES).sd.min()


def test_the_mean_over_the_posterior_agrees_with_monte_carlo() -> None:
    chance = np.random.default_rng(0)
    for mean, sd in ((0.0, 1.0), (2.0, 0.5), (-1.5, 2.0), (3.0, 3.0)):
        drawn = 1 / (1 + np.exp(-(mean + sd * chance.normal(size=400_000))))
        found = mean_chance(np.array([mean]), np.array([sd**2]))[0]
        assert found == pytest.approx(drawn.mean(), abs=0.015)


def test_a_model_that_degrades_is_noticed_within_two_hundred_answers() -> None:
    chance = np.random.default_rng(11)
    layer = start()
    for n in range(400):
        layer.learn_grade(NAMES[n % 8], float(chance.random() < (0.9 if n % 8 == 0 else 0.75)))
    assert int(np.argmax(layer.predict(NAMES).p_good)) == 0
    noticed = None
    for n in range(200):
        layer.forget(days=0.1, half_life_days=15.0)
        layer.learn_grade(NAMES[n % 8], float(chance.random() < (0.2 if n % 8 == 0 else 0.75)))
        if int(np.argmax(layer.predict(NAMES).p_good)) != 0 and noticed is None:
            noticed = n
    assert noticed is not None
    assert int(np.argmin(layer.predict(NAMES).p_good)) == 0


def test_a_model_that_never_joined_is_an_error() -> None:
    with pytest.raises(KeyError):
        start().learn_grade("nobody", 1.0)
    with pytest.raises(KeyError):
        start().predict(["nobody"])
