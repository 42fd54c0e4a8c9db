"""Full jitter and the retry budget."""

from __future__ import annotations

from server.health.retry import RetryBudget, full_jitter_s


def test_the_pause_is_anywhere_below_a_growing_bound() -> None:
    assert full_jitter_s(3, lambda: 0.0) == 0.0
    bounds = [full_jitter_s(n, lambda: 1.0) for n in range(8)]
    assert bounds[:3] == [0.1, 0.2, 0.4]
    assert bounds[-1] == 2.0


def test_in_an_outage_retries_are_a_share_of_the_requests() -> None:
    budget = RetryBudget(ratio=0.2, per_s=1.0)
    made = 0
    for k in range(10_000):  # 1,000 requests a second for ten seconds, every one of them failing
        budget.request(k / 1000)
        made += budget.take(k / 1000)
    assert 2000 <= made <= 2000 + 10 + 5


def test_a_quiet_gateway_may_always_retry() -> None:
    budget = RetryBudget(ratio=0.0, per_s=1.0)
    assert all(budget.take(second) for second in range(100))
