"""What is concluded from an attempt's outcome, for the model and for its provider."""

from __future__ import annotations

import pytest

from router.catalog import ModelCard
from server.health import BreakerRules, Health, Resting
from server.upstream.errors import (
    Stage,
    UpstreamBusyError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)


def card_of(name: str) -> ModelCard:
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=None
    )


A, B = card_of("a"), card_of("b")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(BreakerRules(consecutive_failures=2), clock, lambda: 0.5)


def fail(health: Health, card: ModelCard, error: UpstreamError, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(UpstreamError), health.watching(card):
            raise error


def test_a_models_failures_do_not_take_its_provider_down(health: Health) -> None:
    fail(health, A, UpstreamUnavailableError("500", status=500), 9)
    assert set(health.resting((A, B))) == {"a"}


def test_a_provider_that_cannot_be_reached_rests_with_all_its_models(health: Health) -> None:
    for card in (A, B):
        fail(health, card, UpstreamUnavailableError("refused", stage=Stage.CONNECTING))
    assert set(health.resting((A, B))) == {"a", "b"}
    assert "provider" in health.resting((A,))["a"].reason


@pytest.mark.parametrize(
    "harmless",
    [
        UpstreamRejectedError("the caller's", status=400, body={}),
        UpstreamBusyError("full", stage=Stage.WAITING),
    ],
)
def test_what_is_not_the_models_fault_is_not_held_against_it(
    health: Health, harmless: UpstreamError
) -> None:
    fail(health, A, harmless, 9)
    assert health.resting((A,)) == {}


def test_retry_after_is_kept_to_and_only_429_is_a_rate_limit(health: Health, clock: Clock) -> None:
    fail(health, A, UpstreamRateLimitedError("429", retry_after_s=7.0))
    fail(health, B, UpstreamUnavailableError("503", status=503, retry_after_s=3.0))
    resting = health.resting((A, B))
    assert resting["a"] == Resting("its provider asked for a pause", 7.0, rate_limited=True)
    assert resting["b"] == Resting("its provider asked for a pause", 3.0)
    clock.now = 7.0
    assert health.resting((A, B)) == {}


def test_a_model_that_hangs_rests_as_timed_out_and_comes_back_by_a_probe(
    health: Health, clock: Clock
) -> None:
    fail(health, A, UpstreamTimeoutError("late"), 2)
    assert health.resting((A,))["a"].timed_out
    clock.now = 5.0
    with health.watching(A):
        assert set(health.resting((A,))) == {"a"}, "one probe at a time"
    assert health.resting((A,)) == {}


def test_a_probe_that_is_cancelled_leaves_the_place_to_another(
    health: Health, clock: Clock
) -> None:
    fail(health, A, UpstreamTimeoutError("late"), 2)
    clock.now = 5.0
    with pytest.raises(KeyboardInterrupt), health.watching(A):
        raise KeyboardInterrupt
    assert health.resting((A,)) == {}


def test_streams_that_begin_well_and_break_open_it_by_their_share(health: Health) -> None:
    for _ in range(9):
        with health.watching(A):
            pass
        health.broke(A)
    assert health.states()["model"] == {"a": "closed"}
    with health.watching(A):
        pass
    health.broke(A)
    assert health.states()["model"] == {"a": "open"}
