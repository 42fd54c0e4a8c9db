"""Who really answered, and what it is booked at: a redirect is recorded and paid for, and a cost
that an answer states is the bill at OpenRouter alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_openrouter import FakeOpenRouter
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway
from merge import sse_events

from router.catalog import ModelCard, Prices
from server.catalogue.price_list import look_up_named
from server.endpoints.decision_json import plain
from server.gateway.served_model import ServedModels, same_model

NOW = datetime(2026, 11, 29, tzinfo=UTC)
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
# At the price of 1 and 2 USD per million tokens.
OWN = 0.0012


def known(name: str) -> str | None:
    bare = name.rpartition("/")[2].lower()
    found = look_up_named(bare, name, NOW)
    return None if found is None else found.name


SAME = [
    ("gpt-4o", "gpt-4o"),
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("gpt-4o-2024-05-13", "gpt-4o"),
    ("openai/gpt-4o", "gpt-4o-2024-08-06"),
    ("openai/gpt-4o:free", "openai/gpt-4o"),
    ("gpt-4", "gpt-4-0613"),
    ("gpt-35-turbo", "gpt-3.5-turbo-0125"),
    ("gemini-2.5-flash", "models/gemini-2.5-flash"),
    ("gemini-2.0-flash", "gemini-2.0-flash-001"),
    ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
    ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5-20250929"),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
    ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
    ("mistral-large-latest", "mistral-large-2411"),
    ("grok-4", "grok-4-0709"),
    ("grok-4-fast", "grok-4-fast-reasoning"),
    ("command-r", "command-r-08-2024"),
    ("llama3.1", "llama3.1:latest"),
    ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
    # deployments, which are called whatever their owner likes
    ("prod-chat", "gpt-4o-2024-08-06"),
    ("gpt-4o-prod", "gpt-4o-2024-08-06"),
    ("gpt-4o", "prod-chat"),
    ("up-cheap", "something else"),
]
OTHERS = [
    ("gpt-4o", "gpt-4o-mini"),
    ("gpt-4o-mini", "gpt-4o-2024-08-06"),
    ("gpt-4o-mini", "openai/o1-pro"),
    ("o1", "o1-pro"),
    ("gpt-4", "gpt-4-turbo"),
    ("gpt-5", "gpt-5-mini"),
    ("gemini-2.5-flash", "gemini-2.5-pro"),
    ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
    ("gemini-2.5-flash", "models/gemini-3.8-flash"),
    ("claude-sonnet-4-5", "claude-opus-4-5-20251101"),
    ("grok-3", "grok-4.7"),
    ("deepseek-chat", "deepseek-reasoner"),
    ("mistral-small-latest", "mistral-large-latest"),
    # retired, and on no list any more, but of a known family
    ("gpt-5-retired", "gpt-4o"),
]


@pytest.mark.parametrize(("asked", "answered"), SAME)
def test_names_of_one_model(asked: str, answered: str) -> None:
    assert same_model(asked, answered, known)


@pytest.mark.parametrize(("asked", "answered"), OTHERS)
def test_names_of_two_models(asked: str, answered: str) -> None:
    assert not same_model(asked, answered, known)
    assert not same_model(answered, asked, known) or known(asked) is None


def card(name: str, provider: str, upstream_model: str) -> ModelCard:
    prices = Prices(input_usd_per_mtok=Decimal(7), output_usd_per_mtok=Decimal(8))
    return ModelCard(name=name, provider=provider, upstream_model=upstream_model,
                     leaderboard_name=name, prices=prices)  # fmt: skip


@pytest.mark.anyio
async def test_the_catalogue_is_asked_before_the_list() -> None:
    mini, own = card("mini", "a", "gpt-4o-mini"), card("o1", "b", "o1-pro")
    other = card("their dear", "a", "their-dear")
    served = ServedModels([mini, own, other], NOW)
    assert await served.other(mini, "o1-pro-2025-03-19") is own
    assert await served.other(mini, "their-dear") is other
    listed = await served.other(mini, "gpt-4o")
    assert listed is not None
    assert listed.prices is not None
    assert listed.prices.input_usd_per_mtok == Decimal("2.5")
    assert await served.other(mini, "gpt-4o-mini-2024-07-18") is None
    assert await served.other(card("x", "a", "prod"), "gpt-4o") is None


@dataclass
class Rig:
    plain: FakeProvider
    router: FakeOpenRouter
    claude: FakeAnthropic
    client: httpx.Client
    database: Path

    def ask(
        self, model: str, *, stream: bool = False, **headers: str
    ) -> tuple[httpx.Response, Any]:
        """The answer and its usage."""
        body = HELLO | {"model": model, "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        response = self.client.post("/v1/chat/completions", json=body, headers=headers)
        assert response.status_code == 200, response.text
        if not stream:
            return response, response.json()["usage"]
        *chunks, done = sse_events(response.text)
        assert done == "[DONE]"
        assert {chunk["model"] for chunk in chunks} == {model}
        return response, chunks[-1]["usage"]

    def row(self, response: httpx.Response) -> tuple[float, str, str | None]:
        """What the ledger has: USD, where they come from, who answered."""
        wait_and_flush(self.client)
        with closing(sqlite3.connect(self.database)) as ledger:
            (row,) = ledger.execute(
                "select cost_pico, cost_source, served_model from attempts where request_id = ?",
                [response.headers["x-request-id"]],
            ).fetchall()
        return row[0] / 1e12, row[1], row[2]


def wait_and_flush(client: httpx.Client) -> None:
    """The writer commits what it has been given before it answers a reader."""
    client.get("/admin/spend", headers={"authorization": "Bearer key-boss"}).raise_for_status()


CONFIG = """
providers:
  plain: {{kind: openai, base_url: "{plain}"}}
  router: {{kind: openai, base_url: "{router}", profile: openrouter}}
  claude: {{kind: anthropic, base_url: "{claude}"}}
models:
  mini: {{provider: plain, upstream_model: gpt-4o-mini, input_usd_per_mtok: 1,
         output_usd_per_mtok: 2}}
  dear: {{provider: plain, upstream_model: up-dear, input_usd_per_mtok: 50,
         output_usd_per_mtok: 60}}
  cheap: {{provider: router, upstream_model: openai/gpt-4o-mini, input_usd_per_mtok: 1,
          output_usd_per_mtok: 2}}
  unpriced: {{provider: plain, upstream_model: up-unpriced}}
  sonnet: {{provider: claude, upstream_model: claude-sonnet-4-5, input_usd_per_mtok: 1,
           output_usd_per_mtok: 2}}
scorer: {{fixed: {{mini: 0, dear: 0, cheap: 0}}}}
auth: {{keys: [{{name: boss, key_env: BOSS, admin: true}},
              {{name: cheap, key_env: CHEAP, models: [cheap]}},
              {{name: poor, key_env: POOR, budget_usd: 1, window_s: 3600}}]}}
storage: {{url: "sqlite:///{database}"}}
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    database = tmp_path_factory.mktemp("ledger") / "p2l.db"
    with ExitStack() as stack:
        plain, router = stack.enter_context(FakeProvider()), stack.enter_context(FakeOpenRouter())
        claude = stack.enter_context(FakeAnthropic())
        text = CONFIG.format(
            plain=plain.base_url, router=router.base_url, claude=claude.base_url, database=database
        )
        environ = {"BOSS": "key-boss", "CHEAP": "key-cheap", "POOR": "key-poor"}
        live = stack.enter_context(LiveGateway(text, environ))
        client = httpx.Client(
            base_url=live.url,
            trust_env=False,
            timeout=20,
            headers={"authorization": "Bearer key-boss"},
        )
        yield Rig(plain, router, claude, stack.enter_context(client), database)


@pytest.fixture(autouse=True)
def as_new(rig: Rig) -> None:
    for fake in (rig.plain, rig.router, rig.claude):
        fake._scripts.clear()
        fake.requests.clear()


def test_a_key_for_cheap_models_gets_no_other_at_openrouter(rig: Rig) -> None:
    attack = {
        "models": ["openai/o1-pro"],
        "route": "fallback",
        "plugins": [{"id": "web"}],
        "provider": {"order": ["dear"]},
    }
    before = rig.router.charged
    response = rig.client.post(
        "/v1/chat/completions",
        json=HELLO | attack | {"model": "cheap"},
        headers={
            "authorization": "Bearer key-cheap",
            "x-cost-budget": "0.01",
            "x-cost-budget-mode": "hard",
        },
    )
    assert response.status_code == 200
    assert response.json()["model"] == "cheap"
    assert "x-p2l-served-model" not in response.headers
    assert set(response.headers["x-p2l-left-out-fields"].split(",")) == set(attack)
    assert rig.router.charged - before == pytest.approx(0.00002)
    assert response.json()["usage"]["cost"] == 0.00002


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cost", [0, 0.0000001, 0.5])
def test_at_openrouter_the_stated_cost_is_the_bill(rig: Rig, cost: float, stream: bool) -> None:
    rig.router.script("openai/gpt-4o-mini", Behaviour(usage=USAGE | {"cost": cost}))
    response, usage = rig.ask("cheap", stream=stream)
    assert usage["cost"] == cost
    assert rig.row(response) == (pytest.approx(cost), "reported", None)
    if not stream:
        assert response.headers["x-p2l-cost-usd"] == plain(cost)


def test_what_the_vendor_charges_a_key_of_the_operators_own_is_paid_too(rig: Rig) -> None:
    own = {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}
    rig.router.script("openai/gpt-4o-mini", Behaviour(usage=USAGE | own))
    response, usage = rig.ask("cheap")
    assert usage["cost"] == pytest.approx(0.021)
    assert rig.row(response)[:2] == (pytest.approx(0.021), "reported")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("cost", "booked", "source"),
    [(OWN / 2, OWN, "usage"), (0, OWN, "usage"), (OWN * 3, OWN * 3, "reported")],
)
def test_elsewhere_a_stated_cost_is_never_booked_below_our_own(
    rig: Rig, cost: float, booked: float, source: str, stream: bool
) -> None:
    rig.plain.script("gpt-4o-mini", Behaviour(usage=USAGE | {"cost": cost}))
    response, usage = rig.ask("mini", stream=stream)
    assert usage["cost"] == pytest.approx(booked, abs=1e-12)
    assert rig.row(response) == (pytest.approx(booked), source, None)


NONSENSE = [-1, -1e-9, 1e6, 1e300, "0.5", "", True, None, [1], {"total": 1}, 10**40]


@pytest.mark.parametrize("cost", NONSENSE)
@pytest.mark.parametrize("model", ["mini", "cheap"])
def test_nonsense_is_no_cost(rig: Rig, model: str, cost: Any) -> None:
    for fake, name in ((rig.plain, "gpt-4o-mini"), (rig.router, "openai/gpt-4o-mini")):
        fake.script(name, Behaviour(usage=USAGE | {"cost": cost}))
    response, usage = rig.ask(model)
    assert usage["cost"] == pytest.approx(OWN, abs=1e-12)
    assert rig.row(response)[:2] == (pytest.approx(OWN), "usage")


def test_where_nobody_knows_the_price_the_stated_cost_is_all_there_is(rig: Rig) -> None:
    rig.plain.script("up-unpriced", Behaviour(usage=USAGE | {"cost": 0.25}))
    response, usage = rig.ask("unpriced")
    assert usage["cost"] == 0.25
    assert rig.row(response)[:2] == (0.25, "reported")
    rig.plain.script("up-unpriced", Behaviour(usage=USAGE | {"cost": "much"}))
    assert "cost" not in rig.ask("unpriced")[1]


def test_windows_settle_at_what_is_stated(rig: Rig) -> None:
    poor = {"authorization": "Bearer key-poor"}
    rig.router.script("openai/gpt-4o-mini", Behaviour(usage=USAGE | {"cost": 0.9999}))
    rig.ask("cheap", **poor)
    body = HELLO | {"model": "cheap", "max_tokens": 2000}
    refused = rig.client.post("/v1/chat/completions", json=body, headers=poor)
    assert refused.json()["error"]["code"] == "budget_exhausted"


@pytest.mark.parametrize("stream", [False, True])
def test_a_redirect_is_named_and_billed_at_its_own_price(rig: Rig, stream: bool) -> None:
    rig.plain.script("gpt-4o-mini", Behaviour(usage=USAGE, model="o1-pro-2025-03-19"))
    response, usage = rig.ask("mini", stream=stream)
    # 150 and 600 USD per million tokens
    assert usage["cost"] == pytest.approx(0.15 + 0.06, abs=1e-9)
    assert response.headers["x-p2l-served-model"] == "o1-pro-2025-03-19"
    assert response.headers["x-p2l-model"] == "mini"
    assert rig.row(response) == (pytest.approx(0.21), "usage", "o1-pro-2025-03-19")


@pytest.mark.parametrize("stream", [False, True])
def test_a_redirect_within_the_catalogue_has_the_catalogues_price(rig: Rig, stream: bool) -> None:
    rig.plain.script("gpt-4o-mini", Behaviour(usage=USAGE, model="up-dear"))
    response, usage = rig.ask("mini", stream=stream)
    assert usage["cost"] == pytest.approx(0.05 + 0.006, abs=1e-9)
    assert rig.row(response)[2] == "up-dear"


def test_a_redirect_to_a_cheaper_model_costs_what_was_asked_for(rig: Rig) -> None:
    rig.plain.script("up-dear", Behaviour(usage=USAGE, model="gpt-4o-mini"))
    response, usage = rig.ask("dear")
    assert usage["cost"] == pytest.approx(0.056, abs=1e-9)
    assert response.headers["x-p2l-served-model"] == "gpt-4o-mini"


def test_at_openrouter_a_redirect_costs_what_is_stated(rig: Rig) -> None:
    stated = USAGE | {"cost": 0.003}
    rig.router.script("openai/gpt-4o-mini", Behaviour(usage=stated, model="openai/o1-pro"))
    response, usage = rig.ask("cheap")
    assert usage["cost"] == 0.003
    assert response.headers["x-p2l-served-model"] == "openai/o1-pro"
    rig.router.script("openai/gpt-4o-mini", Behaviour(usage=USAGE, model="openai/o1-pro"))
    assert rig.ask("cheap")[1]["cost"] == pytest.approx(0.21, abs=1e-9)


@pytest.mark.parametrize("name", ["gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini", "a deployment"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_same_model_under_another_name_is_the_same(rig: Rig, name: str, stream: bool) -> None:
    rig.plain.script("gpt-4o-mini", Behaviour(usage=USAGE, model=name))
    response, usage = rig.ask("mini", stream=stream)
    assert "x-p2l-served-model" not in response.headers
    assert usage["cost"] == pytest.approx(OWN, abs=1e-12)
    assert rig.row(response)[2] is None


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_dialect_names_who_answered(rig: Rig, path: str, stream: bool) -> None:
    rig.claude.script("claude-sonnet-4-5", Behaviour(model="claude-opus-4-5-20251101"))
    body = HELLO | {"model": "sonnet", "max_tokens": 50, "stream": stream}
    response = rig.client.post(path, json=body)
    assert response.headers["x-p2l-served-model"] == "claude-opus-4-5-20251101"
    # 5 and 25 USD per million tokens
    assert rig.row(response)[0] == pytest.approx((11 * 5 + 5 * 25) / 1e6)
    if not stream:
        assert response.json()["model"] == "sonnet"


def test_the_receipt_says_who_answered(rig: Rig) -> None:
    for name in ("gpt-4o-mini", "up-dear"):
        rig.plain.script(name, Behaviour(usage=USAGE, model="o1-pro"))
    headers = {"x-route-models": "mini,dear"}
    response = rig.client.post(
        "/v1/chat/completions", json=HELLO | {"model": "p2l"}, headers=headers
    )
    wait_and_flush(rig.client)
    receipt = rig.client.get(f"/v1/decisions/{response.headers['x-request-id']}").json()
    assert receipt["attempts"][-1]["served_model"] == "o1-pro"


def test_a_name_that_is_no_header_is_none(rig: Rig) -> None:
    rig.plain.script("gpt-4o-mini", Behaviour(usage=USAGE, model="o1-pro\r\nx-injected: 1"))
    assert "x-injected" not in rig.ask("mini")[0].headers
    for model in ("x" * 100_000, "", "é\n"):
        rig.plain.script("gpt-4o-mini", Behaviour(usage=USAGE, model=model))
        assert rig.ask("mini")[1]["cost"] == pytest.approx(OWN, abs=1e-12)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stated_cost_survives_a_translation(rig: Rig, stream: bool) -> None:
    usage = {"input_tokens": 11, "output_tokens": 5, "cost": 0.4}
    rig.claude.script("claude-sonnet-4-5", Behaviour(usage=usage))
    response, told = rig.ask("sonnet", stream=stream)
    assert told["cost"] == 0.4
    assert rig.row(response)[:2] == (0.4, "reported")
