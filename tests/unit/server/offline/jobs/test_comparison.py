from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from decimal import Decimal

import pytest
from job_lines import BOARD, job, line

from p2l_model.errors import DataError
from server.config.file import parse_settings
from server.offline.jobs.comparison import (
    EACH,
    NEVER,
    SESSIONS,
    SINGLE,
    Comparison,
    Result,
    Terms,
    compare,
)
from server.offline.jobs.line import JobRequest

CONFIG = """
providers:
  main: {kind: openai, base_url: "http://127.0.0.1:9/v1", api_key_env: K,
         allow_private_addresses: true}
models:
  dear: {provider: main, leaderboard_name: dear-lb, input_usd_per_mtok: 4, output_usd_per_mtok: 20,
         cached_input_usd_per_mtok: 0.4, facts: {caching: {kind: automatic, lifetimes_s: [300]}}}
  cheap: {provider: main, leaderboard_name: cheap-lb, input_usd_per_mtok: 0.4,
          output_usd_per_mtok: 2,
          cached_input_usd_per_mtok: 0.04, facts: {caching: {kind: automatic, lifetimes_s: [300]}}}
"""
BETWEEN = Terms(budget_usd=Decimal("0.006"))


def played(
    lines: Iterable[JobRequest], terms: Sequence[Terms] = (BETWEEN,), config: str = CONFIG
) -> Comparison:
    return asyncio.run(compare(lines, parse_settings(config), terms, seed=1))


def of(found: Comparison, rule: str, terms: Terms = BETWEEN) -> Result:
    return next(r for r in found.results if r.rule == rule and r.terms == terms)


@pytest.fixture(scope="module")
def jobs() -> Comparison:
    return played(one for number in range(20) for one in job(number))


@pytest.mark.slow
def test_a_session_keeps_its_model_and_single_requests_do_not(jobs: Comparison) -> None:
    sessions, never, each = (of(jobs, rule).tally for rule in (SESSIONS, NEVER, EACH))
    assert sessions.requests == never.requests == each.requests == 200
    assert sessions.loop_changes == never.changes == 0
    assert each.loop_changes > 20
    assert (sessions.scored, never.scored, each.scored) == (20, 20, 200)
    assert sessions.wins > each.wins
    assert sessions.prefix_read == sessions.prefix_tokens
    assert each.prefix_read < each.prefix_tokens


def test_a_single_model_costs_what_its_provider_bills() -> None:
    best = of(played(job(1), [Terms()]), SINGLE, Terms())
    assert best.model == "dear"
    # 10 requests: the first is read in full, of each later one the last 1,000 tokens are new
    job_usd = 10 * 100 * Decimal(20) + (2_000 + 9 * 1_000) * Decimal(4)
    job_usd += sum(2_000 + 1_000 * k for k in range(9)) * Decimal("0.4")
    assert best.tally.cost_usd == job_usd / 10**6


def test_the_best_single_model_keeps_to_the_terms() -> None:
    terms = [
        Terms(budget_usd=Decimal("0.001")), Terms(budget_usd=Decimal("0.0001")),
        Terms(usd_per_win=Decimal("0.001")), Terms(usd_per_win=Decimal(1)), Terms(),
    ]  # fmt: skip
    found = played(job(1), terms)
    models = [of(found, SINGLE, one).model for one in terms]
    assert models == ["cheap", "cheap", "cheap", "dear", "dear"]
    assert of(found, SESSIONS, terms[1]).tally.refused > 0


@pytest.mark.slow
def test_no_session_spends_more_than_its_budget() -> None:
    budget = Decimal("0.12")
    capped = Terms(session_budget_usd=budget)
    lines = [one for number in range(3) for one in job(number, 30)]
    found = played(lines, [capped, Terms()])
    free, kept = of(found, SESSIONS, Terms()).tally, of(found, SESSIONS, capped).tally
    assert free.dearest_job_usd > budget
    assert free.changes == free.refused == 0
    assert kept.dearest_job_usd <= budget
    assert kept.changes > 0, "the end of a job is cheap"
    assert kept.requests > of(found, SINGLE, capped).tally.requests
    for rule in (NEVER, EACH, SINGLE):
        tally = of(found, rule, capped).tally
        assert tally.dearest_job_usd <= budget
        assert (tally.refused > 0) == (rule != EACH), "it may change to the cheap model in time"
    assert found.figures(of(found, SESSIONS, capped))["spent_of_budgets"] == pytest.approx(
        float(kept.cost_usd / (3 * budget))
    )


def test_a_model_with_efforts_has_columns() -> None:
    config = """
    providers: {main: {kind: openai, base_url: "https://api.openai.com/v1", api_key_env: K}}
    models: {gpt-6.1-sol: {provider: main, efforts: [low, high]}}
    """
    found = played(job(1), [Terms()], config)
    assert set(found.singles) == {"gpt-6.1-sol:low", "gpt-6.1-sol:high"}
    low, high = (found.singles[f"gpt-6.1-sol:{one}"] for one in ("low", "high"))
    assert high.win_rate is not None
    assert low.win_rate is not None
    assert high.win_rate > low.win_rate
    sessions = of(found, SESSIONS, Terms()).tally
    assert sessions.cost_usd == high.cost_usd, "the usage is that of the column"
    assert sessions.prefix_read == sessions.prefix_tokens


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures(jobs: Comparison) -> None:
    again = played(one for number in range(20) for one in job(number))
    assert again.to_json() == jobs.to_json()


def test_what_no_rule_decides_costs_what_was_recorded() -> None:
    found = played([*job(1, 2), line(routed=False, model="elsewhere", cost_usd=Decimal("0.5"))])
    for result in found.results:
        assert result.tally.asked_by_name == 1
        assert result.tally.cost_usd > Decimal("0.5")
        assert result.tally.requests == 2


def test_without_a_routed_request_there_is_nothing_to_compare() -> None:
    with pytest.raises(DataError, match="no request of the file was routed"):
        played([line(leaderboard=None)])


def test_a_model_without_a_price_is_named() -> None:
    more = "  free: {provider: main, leaderboard_name: other}\n"
    with pytest.raises(DataError, match=r"models\.free has no price"):
        played([line(leaderboard=BOARD)], config=CONFIG + more)


@pytest.mark.slow
def test_a_rule_is_compared_with_mixes_of_single_models(jobs: Comparison) -> None:
    cheap, dear = (jobs.singles[name] for name in ("cheap", "dear"))
    assert cheap.win_rate is not None
    assert dear.win_rate is not None
    assert jobs.mix_usd(cheap.win_rate) == pytest.approx(float(cheap.cost_usd) / 20)
    half = jobs.mix_usd((cheap.win_rate + dear.win_rate) / 2)
    assert half == pytest.approx(float(cheap.cost_usd + dear.cost_usd) / 40)
    assert jobs.mix_usd(0.999) is None


def test_figures_are_told_as_shares(jobs: Comparison) -> None:
    told = jobs.to_json()
    assert (told["jobs"], told["requests"]) == (20, 200)
    rows = {row["rule"]: row for row in told["results"]}
    assert rows[SESSIONS]["scored"] == 0.1
    assert rows[SESSIONS]["prefix_read"] == 1.0
    assert rows[SESSIONS]["job_cost_usd"] == pytest.approx(rows[SESSIONS]["cost_usd"] / 20)
    assert 0 < rows[SESSIONS]["spent_of_budgets"] < 2
    assert 0 < rows[SINGLE]["win_rate"] < rows[SESSIONS]["win_rate"] < 1


COLUMNS = """
providers:
  main: {kind: openai, base_url: "http://127.0.0.1:9/v1", api_key_env: K,
         allow_private_addresses: true}
models:
  gpt-6.1-sol: {provider: main, leaderboard_name: dear-lb, efforts: [low, high],
                input_usd_per_mtok: 4, output_usd_per_mtok: 20, cached_input_usd_per_mtok: 0.4}
scorer: {fixed: {dear-lb: 0}}
"""


def test_columns_are_models_of_a_simulation() -> None:
    """What would a recorded job have cost at another effort? Lengths follow the effort."""
    lines = [
        one.model_copy(update={"model": "gpt-6.1-sol", "effort": "high", "output_tokens": 2_700})
        for one in job(1)
    ]
    free = COLUMNS + "routing: {effort: route}"
    found = played(lines, [Terms()], free)
    low, high = (found.singles[f"gpt-6.1-sol:{effort}"] for effort in ("low", "high"))
    assert (low.requests, high.requests) == (10, 10)
    # 300 tokens of answer each, and 400 or 2,400 of thoughts: as recorded at high
    assert high.cost_usd - low.cost_usd == 10 * 2_000 * Decimal(20) / 10**6
    assert of(found, SESSIONS, Terms()).tally.cost_usd == high.cost_usd
    cheap = played(lines, [Terms(usd_per_win=Decimal("0.01"))], free)
    assert of(cheap, SESSIONS, Terms(usd_per_win=Decimal("0.01"))).tally.cost_usd == low.cost_usd
    # without `route` the recorded effort pins the column
    pinned = played(lines, [Terms(usd_per_win=Decimal("0.01"))], COLUMNS)
    best = of(pinned, SESSIONS, Terms(usd_per_win=Decimal("0.01")))
    assert best.tally.cost_usd == high.cost_usd
