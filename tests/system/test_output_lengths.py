"""Expected costs count thoughts, and follow what this gateway's answers really take."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway

from server.gateway.output_lengths import OutputLengths, expected_thoughts
from server.model_facts import facts_of
from server.surfaces.effort import effort_in


def test_only_who_thinks_has_thoughts() -> None:
    facts = {name: facts_of(name) for name in ("gpt-4o", "gpt-6.1-sol", "claude-opus-4-8", "x")}
    assert expected_thoughts(facts, "") == {"gpt-6.1-sol": 1200.0}
    high = expected_thoughts(facts, "high")
    assert high == {"gpt-6.1-sol": 2400.0, "claude-opus-4-8": 2400.0}
    # it cannot do without: the least that it takes
    assert expected_thoughts(facts, "none") == {"gpt-6.1-sol": 400.0}


@pytest.mark.parametrize(
    ("body", "effort"),
    [
        ({}, ""),
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "nonsense"}, ""),
        ({"reasoning": {"effort": "low"}}, "low"),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"output_config": {}}, ""),
    ],
)
def test_the_effort_that_is_asked_for(body: dict[str, Any], effort: str) -> None:
    assert (effort_in(body) or "") == effort


def test_the_mean_of_a_log_normal_factor_is_found() -> None:
    chance, lengths = random.Random(7), OutputLengths()
    assert lengths.factors("high", "me") == {}
    for _ in range(400):
        lengths.observe("me", "m", "high", 100, 100 * math.exp(chance.gauss(1.0, 0.7)))
    # its mean is exp(mu + sigma^2 / 2); without an answer the usual spread stands for nothing
    expected = math.exp(1.0 + (0.49 - 0.25) / 2)
    assert lengths.factors("high", "me")["m"] == pytest.approx(expected, rel=0.15)
    assert lengths.factors("low", "me") == {}, "another effort is another length"


def test_one_answer_moves_it_a_little() -> None:
    lengths = OutputLengths()
    lengths.observe("me", "m", "", 100, 1e9)
    assert 1.0 < lengths.factors("", "me")["m"] < 10.0
    assert OutputLengths().factors("", "me") == {}


def test_it_is_read_again_and_nonsense_is_not() -> None:
    lengths, again = OutputLengths(), OutputLengths()
    for _ in range(9):
        lengths.observe("me", "m", "low", 100, 300)
    again.restore(lengths.document())
    assert again.factors("low", "me") == lengths.factors("low", "me")
    for nonsense in (
        None,
        7,
        [[1, 2]],
        [["m", "low", "me", -1, 0, 0]],
        [["m", "low", "me", 1, math.nan, 1]],
    ):
        fresh = OutputLengths()
        fresh.restore(nonsense)
        assert fresh.factors("low", "me") == {}


@pytest.mark.slow
def test_expected_costs_come_near_what_is_billed(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5000,
             "completion_tokens_details": {"reasoning_tokens": 4900}}  # fmt: skip
    with FakeProvider() as fake:
        fake.script("gpt-6.1-sol", Behaviour(usage=usage))
        config = f"""
providers: {{p: {{base_url: "{fake.base_url}"}}}}
models: {{gpt-6.1-sol: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 1000,
                        expected_output_tokens: 100}}}}
scorer: {{fixed: {{gpt-4o: 1, other: 0}}}}
storage: {{url: "sqlite:///{tmp_path}/l.db"}}
"""
        body = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}

        def expected(gateway: LiveGateway) -> float:
            found = httpx.post(f"{gateway.url}/v1/route", json=body, trust_env=False)
            return float(found.headers["x-p2l-expected-cost-usd"])

        with LiveGateway(config) as gateway:
            assert expected(gateway) == pytest.approx(1.3, rel=0.01), "100 and 1,200 of thoughts"
            for _ in range(30):
                url = f"{gateway.url}/v1/chat/completions"
                assert httpx.post(url, json=body, trust_env=False).status_code == 200
            learnt = expected(gateway)
            assert 3.0 < learnt < 6.0
        with LiveGateway(config) as gateway:
            again = expected(gateway)
            assert again == pytest.approx(learnt, rel=0.15), "it outlives the process"


@pytest.mark.slow
def test_the_length_of_a_placed_model_is_learnt_and_that_of_an_own_column_is_known() -> None:
    """The leaderboard's length for a model without a column is that of its relative."""
    usage = {"prompt_tokens": 10, "completion_tokens": 900}
    models = ("our-own", "gpt-4o")
    with FakeProvider() as fake:
        for name in models:
            fake.script(name, Behaviour(usage=usage))
        listed = ", ".join(
            f"{name}: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 1000, "
            "expected_output_tokens: 100}"
            for name in models
        )
        config = f"""
providers: {{p: {{base_url: "{fake.base_url}"}}}}
models: {{{listed}}}
scorer: {{fixed: {{gpt-4o: 1, other: 0}}}}
"""
        with LiveGateway(config) as gateway:

            def post(path: str, model: str) -> httpx.Response:
                body = {
                    "model": "p2l",
                    "messages": [{"role": "user", "content": "Hello"}],
                    "p2l": {"models": [model]},
                }
                found = httpx.post(f"{gateway.url}/v1/{path}", json=body, trust_env=False)
                assert found.status_code == 200, found.text
                return found

            for name in models:
                for _ in range(30):
                    post("chat/completions", name)
            cost = {n: float(post("route", n).headers["x-p2l-expected-cost-usd"]) for n in models}
    assert cost["gpt-4o"] == pytest.approx(0.1, rel=0.01)
    assert 0.35 < cost["our-own"] < 1.0


def test_no_caller_decides_what_others_are_expected_to_pay() -> None:
    lengths = OutputLengths()
    for team in range(9):
        for _ in range(50):
            lengths.observe(f"team{team}", "m", "", 100, 100)
    for _ in range(5000):
        lengths.observe("odd", "m", "", 100, 5000)
    assert lengths.factors("", "team0")["m"] < 3
    assert lengths.factors("", "odd")["m"] > 10
    assert lengths.factors("", "newcomer")["m"] < 3
