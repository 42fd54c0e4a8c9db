"""What one request can cost at most: a key's max_request_usd, and what is left of a window,
whatever the caller writes into headers, body and seed."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

PROVIDER_KEY = "sk-provider-canary"
ENVIRON = {"MAIN_KEY": PROVIDER_KEY, "TEAM": "team-key"}
CEILING = Decimal("0.002")
MESSAGES = [{"role": "user", "content": "Hello there"}]
CHAT: dict[str, Any] = {"model": "p2l", "messages": MESSAGES}
UNPRICED = "  unknown: {provider: main, upstream_model: up-unknown}\n"


def config(
    base_url: str, database: Path, terms: str, more: str = "", *, patience_s: float = 20
) -> str:
    keys = f"auth: {{keys: [{{name: team, key_env: TEAM, {terms}}}]}}"
    storage = f'storage: {{url: "sqlite:///{database}"}}'
    text = config_for(base_url, "\n".join((keys, storage, more)), patience_s=patience_s)
    return text.replace("scorer:", UNPRICED + "scorer:").replace("elsewhere: 0.1", "unknown: 9")


@contextmanager
def served(text: str) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer team-key"}
    with (
        LiveGateway(text, ENVIRON) as live,
        httpx.Client(base_url=live.url, headers=headers, trust_env=False, timeout=20) as http,
    ):
        yield http


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def client(provider: FakeProvider, database: Path) -> Iterator[httpx.Client]:
    text = config(provider.base_url, database, f"max_request_usd: {CEILING}")
    with served(text) as http:
        yield http


def reserved(database: Path, answer: httpx.Response, attempts: int = 1) -> Decimal:
    """The worst cases of all attempts of a request, together."""
    query = "select reserved_pico from attempts where request_id = ?"
    deadline = time.monotonic() + 30
    rows: list[tuple[int]] = []
    while len(rows) < attempts and time.monotonic() < deadline:
        with closing(sqlite3.connect(database)) as ledger:
            rows = ledger.execute(query, (answer.headers["x-request-id"],)).fetchall()
        if len(rows) < attempts:
            time.sleep(0.005)
    assert len(rows) == attempts
    return Decimal(sum(row[0] for row in rows)).scaleb(-12)


def post(client: httpx.Client, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"/v1/{path}", json=body, headers=named)


SURFACES: dict[str, dict[str, Any]] = {
    "chat/completions": CHAT,
    "responses": {"model": "p2l", "input": "Hello there"},
    "messages": {"model": "p2l", "messages": MESSAGES, "max_tokens": 40},
    "completions": {"model": "middle", "prompt": "Hello there"},
    "embeddings": {"model": "middle", "input": "Hello there"},
}
TRICKS: list[dict[str, str]] = [
    {},
    {"x_cost_budget": "1000"},
    {"x_cost_budget": "1000", "x_cost_budget_mode": "hard"},
    {"x_cost_budget": "1000", "x_cost_budget_mode": "expected", "x_route_seed": "7"},
]


@pytest.mark.parametrize("tricks", TRICKS, ids=str)
@pytest.mark.parametrize("surface", SURFACES)
def test_no_header_and_no_surface_exceeds_it(
    client: httpx.Client, database: Path, surface: str, tricks: dict[str, str]
) -> None:
    answer = post(client, surface, SURFACES[surface], **tricks)
    assert answer.status_code == 200, answer.text
    assert 0 < reserved(database, answer) <= CEILING


def test_a_cap_is_sent_that_keeps_it(client: httpx.Client, provider: FakeProvider) -> None:
    answer = post(client, "chat/completions", {**CHAT, "model": "middle"})
    cap = int(answer.headers["x-p2l-max-output-tokens"])
    assert provider.chats[0].body["max_completion_tokens"] == cap
    assert cap * Decimal("0.000003") <= CEILING


@pytest.mark.parametrize("model", ["p2l", "dear"])
def test_what_can_cost_more_is_refused_and_nothing_is_sent(
    client: httpx.Client, provider: FakeProvider, model: str
) -> None:
    body = {**CHAT, "model": model, "max_completion_tokens": 100_000}
    answer = post(client, "chat/completions", body, x_cost_budget="1000")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "budget_infeasible")
    assert "at most 0.002 USD (max_request_usd)" in error["message"]
    assert ("cheap" if model == "p2l" else "dear") in error["message"]
    assert error["param"] is None
    assert provider.requests == []


def test_a_model_of_unknown_price_is_not_eligible(
    client: httpx.Client, provider: FakeProvider
) -> None:
    assert post(client, "chat/completions", CHAT).headers["x-p2l-model"] != "unknown"
    answer = post(client, "chat/completions", {**CHAT, "model": "unknown"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "no_eligible_model")
    assert "unknown: its price is unknown" in error["message"]
    assert "configure the price" in error["message"]
    assert "up-unknown" not in {chat.body["model"] for chat in provider.chats}


@pytest.mark.parametrize("limit", ["budget_usd: 5", "budget_usd: 5, window_s: 86400", "global"])
def test_under_a_window_an_unknown_price_is_what_is_told(
    provider: FakeProvider, database: Path, limit: str
) -> None:
    more = "routing: {window_budgets: [{amount_usd: 5, window_s: 86400}]}" * (limit == "global")
    terms = "admin: true" if limit == "global" else limit
    with served(config(provider.base_url, database, terms, more)) as client:
        answer = post(client, "chat/completions", {**CHAT, "model": "unknown"})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "no_eligible_model")
        assert "its price is unknown" in error["message"]
        assert "retry-after" not in answer.headers
        assert post(client, "chat/completions", CHAT).headers["x-p2l-model"] == "dear"


def test_no_tool_of_the_providers_own_is_run(client: httpx.Client, provider: FakeProvider) -> None:
    for extra in ({"web_search_options": {}}, {"tools": [{"type": "web_search"}]}):
        post(client, "chat/completions", {**CHAT, **extra})
    for chat in provider.chats:
        assert "web_search" not in json.dumps(chat.body)


def test_a_lower_budget_of_the_callers_own_still_holds(
    client: httpx.Client, database: Path
) -> None:
    own = Decimal("0.0004")
    hard = post(client, "chat/completions", CHAT, x_cost_budget=f"{own}", x_cost_budget_mode="hard")
    assert reserved(database, hard) <= own
    expected = post(client, "chat/completions", CHAT, x_cost_budget="0.00004")
    assert expected.headers["x-p2l-mix"].startswith("cheap=")
    low = post(client, "chat/completions", CHAT, x_cost_budget="0")
    assert "X-Cost-Budget" in low.json()["error"]["param"]


CAPPED: dict[str, Any] = {**CHAT, "max_completion_tokens": 100}
# What may be billed although nobody read how much: at its worst case here.
BILLED = [Behaviour(first_delay_s=30), Behaviour(garbage=b"no json")]


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", BILLED, ids=["silent", "garbled"])
def test_all_attempts_of_a_request_together_keep_it(
    provider: FakeProvider, database: Path, behaviour: Behaviour
) -> None:
    """Dear can cost 0.0017 and more with its input, middle 0.0004: both would be too much."""
    provider.script("up-dear", behaviour)
    terms = f"max_request_usd: {CEILING}"
    with served(config(provider.base_url, database, terms, patience_s=1)) as client:
        for budget in ({}, {"x_cost_budget": "1"}):
            answer = post(client, "chat/completions", CAPPED, **budget)
            assert answer.headers["x-p2l-model"] == "cheap"
            assert reserved(database, answer, 2) <= CEILING


def test_a_hard_budget_counts_an_answer_that_could_not_be_read(
    provider: FakeProvider, database: Path
) -> None:
    provider.script("up-dear", Behaviour(garbage=b"no json"))
    with served(config(provider.base_url, database, "admin: true")) as client:
        hard = {"x_cost_budget": f"{CEILING}", "x_cost_budget_mode": "hard"}
        answer = post(client, "chat/completions", CAPPED, **hard)
        assert answer.headers["x-p2l-model"] == "cheap"
        assert reserved(database, answer, 2) <= CEILING


def test_a_failure_that_is_not_billed_leaves_it_whole(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", Behaviour(status=500))
    assert post(client, "chat/completions", CAPPED).headers["x-p2l-model"] == "middle"


def test_both_of_a_hedged_request_together_keep_it(provider: FakeProvider, database: Path) -> None:
    provider.script("up-dear", Behaviour(first_delay_s=0.6))
    text = config(
        provider.base_url,
        database,
        f"max_request_usd: {CEILING}",
        "routing: {hedge_after_s: 0.1}",
    )
    with served(text) as client:
        answer = post(client, "chat/completions", CAPPED)
        assert answer.headers["x-p2l-attempts"] == "2"
        assert reserved(database, answer, 2) <= CEILING


@pytest.mark.parametrize(
    ("cap", "where"),
    [
        (400, "key"),
        (None, "global"),
        pytest.param(400, "global", marks=pytest.mark.slow),
        pytest.param(None, "key", marks=pytest.mark.slow),
    ],
)
def test_no_seed_makes_a_request_cost_more_than_a_window_has_left(
    provider: FakeProvider, database: Path, where: str, cap: int | None
) -> None:
    """In expected mode a caller who picks the seed gets the dear model with each request, for the
    price of a mix. The provider reports all that its cap allows: no request may have cost more
    than was left before it."""

    def all_of_it(model: str) -> Behaviour:
        body = provider.chats[-1].body
        tokens = body.get("max_completion_tokens") or 100_000
        usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
        return Behaviour(usage=usage)

    provider.choose = all_of_it
    amount = Decimal("0.03")
    window = f"{{amount_usd: {amount}, window_s: 3600}}"
    more = f"routing: {{window_budgets: [{window}]}}" if where == "global" else ""
    terms = f"budget_usd: {amount}, window_s: 3600" if where == "key" else "admin: true"
    body = CHAT if cap is None else {**CHAT, "max_completion_tokens": cap}
    spent, drawn = Decimal(0), []
    with served(config(provider.base_url, database, terms, more)) as client:
        for seed in range(40):
            tricks = {"x_cost_budget": "0.001", "x_route_seed": str(seed)}
            answer = post(client, "chat/completions", body, **tricks)
            if answer.status_code != 200:
                assert answer.json()["error"]["code"] == "budget_exhausted"
                continue
            cost = Decimal(answer.headers["x-p2l-cost-usd"])
            assert cost <= reserved(database, answer) <= amount - spent
            spent += cost
            drawn.append(answer.headers["x-p2l-model"])
    assert "dear" in drawn
    assert amount / 4 < spent <= amount
