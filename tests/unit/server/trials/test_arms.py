"""Who is in which arm of a trial, and which models may answer there."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from server.config.file import ConfigError, parse_settings
from server.trials.arms import Arm, Trials, trials_of

CONFIG = """
providers: {p: {kind: sandbox}}
models: {old: {provider: p}, other: {provider: p}, new: {provider: p, efforts: [low, high]}}
routing: {profiles: {best: {trial: {models: [new], share: 0.25}}, plain: {}}}
"""
NAMES = ["old", "other", "new:low", "new:high"]


def expanded(names: Collection[str]) -> list[str]:
    columns = {"new": ["new:low", "new:high"]}
    return [column for name in names for column in columns.get(name, [name])]


@pytest.fixture
def trials() -> Trials:
    return Trials(trials_of(parse_settings(CONFIG).routing))


@pytest.mark.slow
def test_a_share_of_the_sessions_gets_the_new_models(trials: Trials) -> None:
    arms = [trials.split("best", seed, None, NAMES, expanded) for seed in range(4_000)]
    assert arms == [trials.split("best", seed, None, NAMES, expanded) for seed in range(4_000)]
    new = [allowed for arm, allowed in arms if arm is not None and arm.is_new]
    assert 880 < len(new) < 1_120  # 1,000 are expected, with a deviation of 27
    assert set(new) == {("new:high", "new:low")}
    usual = {allowed for arm, allowed in arms if arm is not None and not arm.is_new}
    assert usual == {("old", "other")}


def test_other_profiles_have_no_trial(trials: Trials) -> None:
    assert trials.split("plain", 1, None, NAMES, expanded) == (None, None)
    assert trials.split(None, 1, ["old"], NAMES, expanded) == (None, ("old",))


@pytest.mark.parametrize("allowed", [["old"], ["new:low"], ["new:low", "new:high"]])
def test_a_request_whose_lists_leave_one_arm_is_in_none(trials: Trials, allowed: list[str]) -> None:
    arm, models = trials.split("best", 3, allowed, NAMES, expanded)
    assert arm is None
    assert models == tuple(sorted(allowed))


def test_without_a_session_it_is_the_usual_arm(trials: Trials) -> None:
    arm, models = trials.split("best", None, None, NAMES, expanded)
    assert arm is not None
    assert not arm.is_new
    assert models == ("old", "other")


def test_a_stopped_trial_leaves_the_new_models_out(trials: Trials) -> None:
    (trial,) = trials.by_profile.values()
    stopped = Trials(trials.by_profile, frozenset({trial.id}))
    for seed in range(100):
        assert stopped.split("best", seed, None, NAMES, expanded) == (None, ("old", "other"))
    # a caller who asks for it by its lists still gets it
    assert stopped.split("best", 1, ["new:low"], NAMES, expanded) == (None, ("new:low",))


def test_the_form_in_a_receipt() -> None:
    assert Arm("x", True).to_json() == {"id": "x", "arm": "new"}
    assert Arm("x", False).to_json() == {"id": "x", "arm": "usual"}


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ("models: [nobody]", "routing.profiles.best.trial.models: there is no model 'nobody'"),
        ("models: []", "routing.profiles.best.trial.models"),
        ("models: [new], share: 1", "routing.profiles.best.trial.share"),
    ],
)
def test_what_does_not_fit_is_named(trial: str, words: str) -> None:
    text = CONFIG.replace("models: [new], share: 0.25", trial)
    with pytest.raises(ConfigError, match=words.replace("[", "\\[")):
        parse_settings(text)
