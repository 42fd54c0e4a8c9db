"""POST /v1/chat/completions over real sockets, through a fake provider that speaks the dialect."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from broken_stream import Streamed, read_stream
from fake_provider import Behaviour, FakeProvider, Fault
from hanging_up import hang_up

Chat = dict[str, Any]
NONE = {"type": "object", "properties": {}}
HELLO: Chat = {"model": "p2l", "messages": [{"role": "user", "content": "Hello there"}]}


def post(client: httpx.Client, body: Chat, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/chat/completions", json=body, headers=sent)


def events(response: httpx.Response | Streamed) -> list[Any]:
    lines = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_the_best_model_answers_without_a_budget(
    client: httpx.Client, provider: FakeProvider
) -> None:
    response = post(client, HELLO)
    assert response.status_code == 200
    body = response.json()
    assert body["model"] == "dear"
    assert response.headers["x-p2l-model"] == "dear"
    assert response.headers["x-p2l-mix"] == "dear=1"
    assert response.headers["x-p2l-attempts"] == "1"
    assert response.headers["x-request-id"].startswith("req_")
    assert "x-p2l-budget-usd" not in response.headers
    assert response.headers["server-timing"].startswith("score;dur=")
    (sent,) = provider.chats
    assert sent.body["model"] == "up-dear"
    assert sent.headers["authorization"] == "Bearer sk-provider-canary"


def test_cost_is_exact_and_counts_cached_tokens_at_their_own_price(
    client: httpx.Client, provider: FakeProvider
) -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 400},
    }
    provider.script("up-dear", Behaviour(usage=usage))
    response = post(client, HELLO)
    expected = (Decimal(600) * 5 + Decimal(400) * Decimal("2.5") + Decimal(100) * 15) / 10**6
    assert Decimal(response.headers["x-p2l-cost-usd"]) == expected
    assert response.json()["usage"]["cost"] == pytest.approx(float(expected), abs=1e-12)


def test_a_budget_below_the_best_mixes_two_models_within_it(client: httpx.Client) -> None:
    seen = set()
    for seed in range(12):
        response = post(client, HELLO, X_Cost_Budget="0.0008", X_Route_Seed=str(seed))
        mix = dict(part.split("=") for part in response.headers["x-p2l-mix"].split(","))
        assert len(mix) == 2
        assert sum(map(float, mix.values())) == pytest.approx(1.0)
        assert all(len(share) <= len("0.123456") for share in mix.values())
        seen.add(response.headers["x-p2l-model"])
        again = post(client, HELLO, X_Cost_Budget="0.0008", X_Route_Seed=str(seed))
        assert again.headers["x-p2l-model"] == response.headers["x-p2l-model"]
    assert len(seen) == 2


def test_an_infeasible_budget_names_the_cheapest_model(
    client: httpx.Client, provider: FakeProvider
) -> None:
    response = post(client, HELLO, X_Cost_Budget="0.0000001")
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "budget_infeasible"
    assert "cheap" in error["message"]
    assert provider.chats == []


def test_hard_mode_forwards_a_cap_that_fits_the_budget(
    client: httpx.Client, provider: FakeProvider
) -> None:
    response = post(client, HELLO, X_Cost_Budget="0.01", X_Cost_Budget_Mode="hard")
    cap = int(response.headers["x-p2l-max-output-tokens"])
    assert response.headers["x-p2l-model"] == "dear"
    assert provider.chats[0].body["max_completion_tokens"] == cap
    assert cap >= 256
    assert Decimal(cap) * 15 / 10**6 < Decimal("0.01")
    tight = post(client, HELLO, X_Cost_Budget="0.001", X_Cost_Budget_Mode="hard")
    assert tight.headers["x-p2l-model"] == "middle"


def test_hard_mode_leaves_no_other_cap_open(client: httpx.Client, provider: FakeProvider) -> None:
    caps = {"max_tokens": 300, "max_completion_tokens": 4000}
    response = post(client, HELLO | caps, X_Cost_Budget="0.01", X_Cost_Budget_Mode="hard")
    assert response.headers["x-p2l-max-output-tokens"] == "300"
    sent = provider.chats[0].body
    assert (sent["max_tokens"], sent["max_completion_tokens"]) == (300, 300)


def test_every_field_of_the_caller_arrives_and_none_of_ours(
    client: httpx.Client, provider: FakeProvider
) -> None:
    extras = {
        "temperature": 0,
        "top_p": 0.5,
        "stop": ["\n"],
        "n": 2,
        "seed": 7,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": NONE}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "metadata": {"a": "b"},
        "field_of_the_future": {"x": [1, 2]},
    }
    assert post(client, HELLO | extras | {"p2l": {"seed": 3}}).status_code == 200
    body = provider.chats[0].body
    assert {name: body[name] for name in extras} == extras
    assert "p2l" not in body
    routing = {"p2l": {"budget_usd": 0.05, "seed": 3}, "cost": "0.05"}
    bounded = post(client, HELLO | extras | routing)
    body = provider.chats[1].body
    del extras["field_of_the_future"]
    assert {name: body[name] for name in extras} == extras
    assert not {"p2l", "cost", "field_of_the_future"} & set(body)
    assert bounded.headers["x-p2l-left-out-fields"] == "field_of_the_future"


def test_streaming_is_complete(client: httpx.Client, provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(texts=("Hel", "lo ✓", " 世界")))
    body = HELLO | {"stream": True, "stream_options": {"include_usage": True}}
    response = post(client, body, X_Cost_Budget="1")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-p2l-model"] == "dear"
    *chunks, done = events(response)
    assert done == "[DONE]"
    assert {chunk["model"] for chunk in chunks} == {"dear"}
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text == "Hello ✓ 世界"
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "stop"
    usage = chunks[-1]["usage"]
    expected = (usage["prompt_tokens"] * 5 + usage["completion_tokens"] * 15) / 1e6
    assert usage["cost"] == pytest.approx(expected, abs=1e-12)


def test_usage_is_asked_for_but_shown_only_to_who_asked(
    client: httpx.Client, provider: FakeProvider
) -> None:
    response = post(client, HELLO | {"stream": True})
    assert provider.chats[0].body["stream_options"]["include_usage"] is True
    *chunks, done = events(response)
    assert done == "[DONE]"
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)


def test_tool_call_deltas_arrive_intact(client: httpx.Client, provider: FakeProvider) -> None:
    function = {"name": "f", "arguments": ""}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    deltas = (
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]},
    )
    provider.script("up-dear", Behaviour(deltas=deltas, finish_reason="tool_calls"))
    *chunks, _ = events(post(client, HELLO | {"stream": True}))
    sent = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
    assert [delta for delta in sent if delta.get("tool_calls")] == list(deltas)
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_failover_before_the_first_byte(
    client: httpx.Client, provider: FakeProvider, stream: bool
) -> None:
    provider.script("up-dear", Behaviour(status=500))
    response = post(client, HELLO | {"stream": stream})
    assert response.status_code == 200
    assert response.headers["x-p2l-model"] == "middle"
    assert response.headers["x-p2l-attempts"] == "2"


def test_when_all_fail_the_caller_learns_it(client: httpx.Client, provider: FakeProvider) -> None:
    for name in ("up-dear", "up-middle", "up-cheap"):
        provider.script(name, Behaviour(status=503))
    response = post(client, HELLO)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_error"
    assert len(provider.chats) == 3


def test_when_all_are_rate_limited_the_shortest_wait_is_told(
    client: httpx.Client, provider: FakeProvider
) -> None:
    for name, wait in (("up-dear", "30"), ("up-middle", "7"), ("up-cheap", "20")):
        provider.script(name, Behaviour(status=429, headers={"retry-after": wait}))
    response = post(client, HELLO)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    again = post(client, HELLO)
    assert again.status_code == 429
    assert len(provider.chats) == 3, "models are left alone during their Retry-After"


@pytest.mark.slow
def test_timeouts_are_504(hurried: httpx.Client, provider: FakeProvider) -> None:
    for name in ("up-dear", "up-middle", "up-cheap"):
        provider.script(name, Behaviour(first_delay_s=30))
    response = post(hurried, HELLO)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "upstream_timeout"


def test_the_upstreams_verdict_on_the_request_passes_through(
    client: httpx.Client, provider: FakeProvider
) -> None:
    verdict = {"message": "no such tool", "type": "invalid_request_error", "code": "x"}
    provider.script("up-dear", Behaviour(status=400, error=verdict))
    response = post(client, HELLO)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "no such tool"
    assert len(provider.chats) == 1


def test_a_stream_that_breaks_ends_with_an_error_event(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", Behaviour(texts=("a", "b", "c"), fault=Fault.CUT, fault_after=2))
    answer = read_stream(client, "/v1/chat/completions", HELLO | {"stream": True})
    seen = events(answer)
    assert seen[-1]["error"]["code"] == "upstream_error"
    # by which clients know that they may try again
    assert seen[-1]["error"]["type"] == "server_error"
    assert "You can retry your request" in seen[-1]["error"]["message"]
    assert "[DONE]" not in seen
    assert answer.is_broken


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_hangs_up_cancels_the_upstream(
    client: httpx.Client, provider: FakeProvider, stream: bool
) -> None:
    slow = Behaviour(texts=("tick ",) * 50, chunk_delay_s=0.05, first_delay_s=0.0)
    provider.script("up-dear", slow if stream else Behaviour(first_delay_s=0.8))
    if stream:
        with client.stream("POST", "/v1/chat/completions", json=HELLO | {"stream": True}) as r:
            next(r.iter_lines())
    else:
        hang_up(str(client.base_url), "/v1/chat/completions", HELLO, lambda: provider.chats)
    (sent,) = provider.chats
    assert sent.over.wait(5)
    assert sent.aborted


def test_a_model_asked_for_by_name_is_not_routed(
    client: httpx.Client, provider: FakeProvider
) -> None:
    response = post(client, HELLO | {"model": "cheap"})
    assert response.json()["model"] == "cheap"
    assert "x-p2l-win-rate" not in response.headers
    provider.script("up-cheap", Behaviour(status=500))
    assert post(client, HELLO | {"model": "cheap"}).status_code == 502
    refused = post(client, HELLO | {"model": "dear"}, X_Cost_Budget="0.0001")
    assert refused.json()["error"]["code"] == "budget_infeasible"


def test_capabilities_come_before_optimality(client: httpx.Client) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    response = post(client, HELLO | {"tools": tools}, X_Route_Models="middle,cheap")
    assert response.headers["x-p2l-model"] == "middle"
    none = post(client, HELLO | {"tools": tools}, X_Route_Models="cheap")
    assert none.status_code == 400
    assert none.json()["error"]["code"] == "no_eligible_model"
    assert "tools" in none.json()["error"]["message"]


def test_explain_adds_the_decision(client: httpx.Client) -> None:
    body = post(client, HELLO | {"p2l": {"explain": True}}).json()
    assert body["p2l"]["model"] == "dear"
    assert {row["model"] for row in body["p2l"]["alternatives"]} == {"dear", "middle", "cheap"}
    assert "dear" in body["p2l"]["explanation"]


BAD_BUDGETS = [
    "",
    "-1",
    "+1",
    "nan",
    "inf",
    "1e400",
    "1,5",
    "0x1",
    "1_000",
    "١",
    "1 2",
    "-0",
    "abc",
]


@pytest.mark.parametrize("budget", BAD_BUDGETS)
def test_bad_budgets_are_refused(client: httpx.Client, budget: str) -> None:
    header = {b"x-cost-budget": budget.encode()}
    response = client.post("/v1/chat/completions", json=HELLO, headers=list(header.items()))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_cost_budget"


@pytest.mark.parametrize("budget", ["0.5", "5e-1", ".5", "0.50"])
def test_budget_spellings(client: httpx.Client, budget: str) -> None:
    response = post(client, HELLO, X_Cost_Budget=budget)
    assert Decimal(response.headers["x-p2l-budget-usd"]) == Decimal("0.5")
    twin = post(client, HELLO | {"p2l": {"budget_usd": 0.5}, "cost": "0.5"}, X_Cost_Budget=budget)
    assert twin.status_code == 200


def test_repeated_and_conflicting_options(client: httpx.Client) -> None:
    twice = [(b"x-cost-budget", b"0.5"), (b"x-cost-budget", b"0.5")]
    response = client.post("/v1/chat/completions", json=HELLO, headers=twice)
    assert response.json()["error"]["code"] == "invalid_cost_budget"
    conflict = post(client, HELLO | {"p2l": {"budget_usd": 0.4}}, X_Cost_Budget="0.5")
    assert conflict.status_code == 400
    assert conflict.json()["error"]["code"] == "conflicting_routing_options"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"n": 0}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"p2l": {"budget": 1}}, "p2l.budget"),
        ({"p2l": {"models": "dear"}}, "p2l.models"),
        ({"p2l": {"models": ["nobody"]}}, "p2l.models"),
        ({"p2l": {"budget_mode": "soft"}}, "p2l.budget_mode"),
        ({"p2l": {"seed": "x"}}, "p2l.seed"),
    ],
)
def test_bad_fields_are_named(client: httpx.Client, change: Chat, param: str) -> None:
    response = post(client, HELLO | change)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "invalid_request"
    assert error["param"] == param


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff\xfe", b'{"a": NaN}', b""])
def test_bodies_that_are_no_json_objects(client: httpx.Client, raw: bytes) -> None:
    response = client.post("/v1/chat/completions", content=raw)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"


def test_unknown_models_and_paths(client: httpx.Client) -> None:
    response = post(client, HELLO | {"model": "nobody"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert post(client, HELLO | {"model": "p2l:nobody"}).status_code == 404
    assert client.get("/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    assert client.get("/v1/chat/completions").status_code == 405


def test_one_slow_upstream_does_not_stop_the_server(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", Behaviour(texts=("x",) * 1000, chunk_delay_s=0.1))
    with client.stream("POST", "/v1/chat/completions", json=HELLO | {"stream": True}) as slow:
        lines = slow.iter_lines()  # kept: the stream ends with it
        next(lines)
        assert client.get("/healthz").status_code == 200
        assert not provider.chats[0].over.is_set(), "the stream is under way"
