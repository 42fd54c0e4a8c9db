"""/v1/completions and /v1/embeddings: sent as they are, within the budget, and paid for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway
from openai import OpenAI

from server.catalogue.price_list import look_up


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[FakeProvider, str]]:
    with FakeProvider() as plain, FakeAnthropic() as claude:
        config = f"""
providers:
  plain: {{kind: openai, base_url: "{plain.base_url}"}}
  claude: {{kind: anthropic, base_url: "{claude.base_url}"}}
models:
  embedder: {{provider: plain, upstream_model: up-embed, input_usd_per_mtok: 0.02,
             output_usd_per_mtok: 0}}
  writer: {{provider: plain, upstream_model: up-write, input_usd_per_mtok: 1.5,
           output_usd_per_mtok: 2}}
  claude: {{provider: claude, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
scorer: {{fixed: {{writer: 0}}}}
"""
        with LiveGateway(config) as gateway:
            yield plain, gateway.url


@pytest.fixture
def provider(live: tuple[FakeProvider, str]) -> FakeProvider:
    live[0].requests.clear()
    return live[0]


@pytest.fixture
def sdk(live: tuple[FakeProvider, str]) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{live[1]}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_embeddings(sdk: OpenAI, provider: FakeProvider) -> None:
    raw = sdk.embeddings.with_raw_response.create(
        model="embedder", input=["a", "b"], dimensions=2, extra_headers={"X-Cost-Budget": "0.1"}
    )
    answer = raw.parse()
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.model == "embedder"
    assert answer.usage.cost == pytest.approx(7 * 0.02 / 1e6, abs=1e-15)
    assert float(raw.headers["x-p2l-cost-usd"]) == pytest.approx(7 * 0.02 / 1e6, abs=1e-15)
    sent = provider.requests[-1]
    assert sent.path == "/v1/embeddings"
    assert sent.body["model"] == "up-embed"
    assert (sent.body["input"], sent.body["dimensions"]) == (["a", "b"], 2)


def test_an_embedding_models_list_price_has_no_output() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    listed = look_up("text-embedding-3-small", "https://api.openai.com/v1", now)
    assert listed is not None
    assert listed.prices.input_usd_per_mtok == Decimal("0.02")
    assert listed.prices.output_usd_per_mtok == 0


@pytest.mark.parametrize("given", ["text", ["a"], [1, 2, 3], [[1], [2, 3]]])
def test_every_form_of_input_is_counted_against_the_budget(
    sdk: OpenAI, provider: FakeProvider, given: Any
) -> None:
    sdk.embeddings.create(model="embedder", input=given, extra_headers={"X-Cost-Budget": "0.01"})
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.embeddings.create(
            model="embedder", input=given, extra_headers={"X-Cost-Budget": "0.000000001"}
        )
    assert refused.value.code == "budget_infeasible"
    assert len(provider.requests) == 1


def test_completions(sdk: OpenAI, provider: FakeProvider) -> None:
    raw = sdk.completions.with_raw_response.create(
        model="writer",
        prompt="Hello",
        suffix="!",
        logprobs=2,
        extra_headers={"X-Cost-Budget": "0.01", "X-Cost-Budget-Mode": "hard"},
    )
    answer = raw.parse()
    assert answer.choices[0].text == " world"
    assert answer.model == "writer"
    assert answer.usage.cost == pytest.approx((3 * 1.5 + 2 * 2) / 1e6, abs=1e-12)
    body = provider.requests[-1].body
    assert body["max_tokens"] == int(raw.headers["x-p2l-max-output-tokens"])
    assert (body["suffix"], body["logprobs"], body["model"]) == ("!", 2, "up-write")


def test_completions_stream(sdk: OpenAI, provider: FakeProvider) -> None:
    head = {"id": "c", "object": "text_completion", "created": 1, "model": "up-write"}
    choice = {"index": 0, "text": "wor", "logprobs": None, "finish_reason": None}
    events = (
        {**head, "choices": [choice]},
        {**head, "choices": [choice | {"text": "ld", "finish_reason": "stop"}]},
        {**head, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    )
    provider.script("up-write", Behaviour(events=events))
    options: Any = {"include_usage": True}
    stream = sdk.completions.create(model="writer", prompt="x", stream=True, stream_options=options)
    *chunks, last = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "world"
    assert {chunk.model for chunk in chunks} == {"writer"}
    assert last.usage.cost == pytest.approx((3 * 1.5 + 2 * 2) / 1e6, abs=1e-12)
    provider.script("up-write", Behaviour())


def test_neither_is_routed_nor_sent_where_it_is_not_spoken(sdk: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="not routed"):
        sdk.embeddings.create(model="p2l", input="x")
    with pytest.raises(openai.BadRequestError, match="no /v1/embeddings"):
        sdk.embeddings.create(model="claude", input="x")
    with pytest.raises(openai.NotFoundError):
        sdk.completions.create(model="nobody", prompt="x")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("embeddings", {"input": []}, "input"),
        ("embeddings", {"input": 5}, "input"),
        ("embeddings", {"input": [1.5]}, "input"),
        ("embeddings", {"input": "x", "model": 5}, "model"),
        ("completions", {}, "prompt"),
        ("completions", {"prompt": "x", "n": 0}, "n"),
        ("completions", {"prompt": "x", "max_tokens": "many"}, "max_tokens"),
    ],
)
def test_bad_fields_are_named(
    live: tuple[FakeProvider, str], path: str, body: dict[str, Any], param: str
) -> None:
    body = {"model": "writer", **body}
    response = httpx.post(f"{live[1]}/v1/{path}", json=body, trust_env=False)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
