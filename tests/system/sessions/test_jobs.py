"""Sessions through a live gateway: whose calls were made are given their results, and one draw
decides a whole job."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from router.receipt import replay
from server.auth.authenticator import Caller
from server.gateway.gateway import Gateway
from server.gateway.plan import Plan
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions

KEY = "sk-provider-canary"
# between the cost of the cheap model and of the dear one: both answer half of the jobs
BUDGET = "0.0008"
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
Message = dict[str, Any]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def calling(*ids: str) -> tuple[dict[str, Any], ...]:
    function = {"name": "look", "arguments": "{}"}
    return tuple(
        {"tool_calls": [{"index": n, "id": one, "type": "function", "function": function}]}
        for n, one in enumerate(ids)
    )


def call_of(*ids: str) -> Behaviour:
    function = {"name": "look", "arguments": "{}"}
    calls = [{"id": one, "type": "function", "function": function} for one in ids]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    return Behaviour(deltas=calling(*ids), message=message, finish_reason="tool_calls")


def loop_of(question: Message, call: str) -> list[Message]:
    function = {"name": "look", "arguments": "{}"}
    asked = [{"id": call, "type": "function", "function": function}]
    answer = {"role": "assistant", "content": None, "tool_calls": asked}
    return [question, answer, {"role": "tool", "tool_call_id": call, "content": "found"}]


def ask(
    client: httpx.Client, messages: list[Message], *, stream: bool = False, **headers: str
) -> httpx.Response:
    body = {"model": "p2l", "messages": messages, "stream": stream}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.post("/v1/chat/completions", json=body, headers=sent)
    assert response.status_code == 200, response.text
    return response


def model_of(response: httpx.Response) -> tuple[str, str]:
    return response.headers["x-p2l-model"], response.headers["x-p2l-kept"]


def receipt_of(client: httpx.Client, response: httpx.Response) -> Any:
    name = response.headers["x-request-id"]
    for _ in range(200):
        found = client.get(f"/v1/decisions/{name}")
        if found.status_code == 200:
            return found.json()
        time.sleep(0.005)
    raise AssertionError("there is no receipt")


@pytest.mark.parametrize("stream", [False, True])
def test_results_go_to_the_model_that_made_the_call(
    client: httpx.Client, provider: FakeProvider, stream: bool
) -> None:
    provider.script("up-cheap", call_of("call_1"))
    first = ask(client, [user("Look")], stream=stream, X_Route_Models="cheap")
    assert model_of(first) == ("cheap", "new")
    second = ask(client, loop_of(user("Look"), "call_1"), stream=stream)
    assert model_of(second) == ("cheap", "tool_loop"), "alone, dear would be the best"
    receipt = receipt_of(client, second)
    decision = receipt["attempts"][0]["decision"]
    assert decision["is_kept"]
    assert receipt["attempts"][0]["request"]["kept"] == "cheap"
    assert receipt["scoring"] == "kept"
    assert replay(receipt).differences == []
    assert "kept" in decision["explanation"]
    third = ask(client, [*loop_of(user("Look"), "call_1"), *loop_of(user("x"), "call_1")[:1]])
    assert model_of(third)[0] == "cheap", "the results are there all the same"


def test_a_new_question_leaves_the_loop(client: httpx.Client, provider: FakeProvider) -> None:
    provider.script("up-cheap", call_of("call_1"))
    ask(client, [user("Look")], X_Route_Models="cheap")
    done = [*loop_of(user("Look"), "call_1"), {"role": "assistant", "content": "Done."}]
    assert model_of(ask(client, [*done, user("And now?")])) == ("dear", "draw")


def test_a_model_that_may_not_answer_is_left(client: httpx.Client, provider: FakeProvider) -> None:
    provider.script("up-cheap", call_of("call_1"))
    loop = loop_of(user("Look"), "call_1")
    ask(client, [user("Look")], X_Route_Models="cheap")
    for headers, why in (
        ({"X_Route_Exclude": "cheap"}, "cheap: excluded by the request"),
        ({"X_Route_Models": "middle"}, "cheap: it is not in the allow-list"),
    ):
        response = ask(client, loop, **headers)
        model, kept = model_of(response)
        assert model != "cheap"
        assert kept == "draw"
        receipt = receipt_of(client, response)
        decision = receipt["attempts"][0]["decision"]
        assert decision["kept_note"] == why
        assert f"the model of its tool loop could not be kept ({why}" in decision["explanation"]
        assert replay(receipt).differences == []


def test_a_model_that_fails_is_left(client: httpx.Client, provider: FakeProvider) -> None:
    provider.script("up-cheap", call_of("call_1"), Behaviour(status=500))
    ask(client, [user("Look")], X_Route_Models="cheap")
    response = ask(client, loop_of(user("Look"), "call_1"))
    assert model_of(response) == ("dear", "draw")
    receipt = receipt_of(client, response)
    first, second = (attempt["decision"] for attempt in receipt["attempts"])
    assert first["is_kept"]
    assert second["kept_note"] == "cheap: it failed for this request"
    assert replay(receipt).differences == []


def test_a_model_that_rests_is_left(
    gateway: LiveGateway, client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-cheap", call_of("call_1"))
    ask(client, [user("Look")], X_Route_Models="cheap")
    rate_limited = Behaviour(status=429, headers={"retry-after": "60"})
    provider.script("up-cheap", rate_limited)
    client.post("/v1/chat/completions", json={"model": "cheap", "messages": [user("x")]})
    response = ask(client, loop_of(user("Look"), "call_1"))
    assert response.headers["x-p2l-model"] == "dear"
    note = receipt_of(client, response)["attempts"][0]["decision"]["kept_note"]
    assert note.startswith("cheap: ")


def test_a_model_that_is_over_the_budget_is_left(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", call_of("call_1"))
    ask(client, [user("Look")])
    hard = {"X_Cost_Budget": "0.002", "X_Cost_Budget_Mode": "hard"}
    response = ask(client, loop_of(user("Look"), "call_1"), **hard)
    assert model_of(response)[0] != "dear"
    note = receipt_of(client, response)["attempts"][0]["decision"]["kept_note"]
    assert note == "dear: it could cost more than the hard budget"


def test_a_mean_budget_is_no_reason_to_leave_a_loop_unless_it_is_lowered(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-dear", call_of("call_1"))
    for seed in range(50):
        first = ask(client, [user("Look")], X_Cost_Budget=BUDGET, X_Route_Seed=str(seed))
        if model_of(first)[0] == "dear":
            break
    loop = loop_of(user("Look"), "call_1")
    same = ask(client, loop, X_Cost_Budget=BUDGET)
    assert model_of(same) == ("dear", "tool_loop"), "it is the dear one of the mix"
    lower = ask(client, loop, X_Cost_Budget="0.0005", X_Route_Models="dear,cheap", X_Route_Seed="3")
    receipt = receipt_of(client, lower)
    note = receipt["attempts"][0]["decision"]["kept_note"]
    assert note == "dear: its expected cost is over the budget, now lower"
    assert replay(receipt).differences == []


def test_a_model_that_the_request_no_longer_fits_is_left(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("up-middle", call_of("call_1"))
    ask(client, [user("Look")], X_Route_Models="middle")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    loop = [*loop_of(user("Look"), "call_1"), {"role": "user", "content": [image]}]
    response = ask(client, loop)
    assert model_of(response) == ("dear", "draw")
    note = receipt_of(client, response)["attempts"][0]["decision"]["kept_note"]
    assert note == "middle: it lacks vision"


def test_a_tool_loop_may_be_left_where_that_is_configured(provider: FakeProvider) -> None:
    config = config_for(provider.base_url, "routing: {sessions: {tool_loop: free}}")
    provider.script("up-cheap", call_of("call_1"))
    with LiveGateway(config, {"MAIN_KEY": KEY}) as live, client_of(live) as client:
        ask(client, [user("Look")], X_Route_Models="cheap")
        response = ask(client, loop_of(user("Look"), "call_1"))
        assert model_of(response) == ("dear", "draw")


def test_without_sessions_each_request_stands_alone(provider: FakeProvider) -> None:
    config = config_for(provider.base_url, "routing: {sessions: {enabled: false}}")
    provider.script("up-cheap", call_of("call_1"))
    with LiveGateway(config, {"MAIN_KEY": KEY}) as live, client_of(live) as client:
        ask(client, [user("Look")], X_Route_Models="cheap")
        response = ask(client, loop_of(user("Look"), "call_1"))
        assert response.headers["x-p2l-model"] == "dear"
        assert "x-p2l-kept" not in response.headers


def client_of(live: LiveGateway) -> httpx.Client:
    return httpx.Client(base_url=live.url, trust_env=False, timeout=20)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["header", "field", "words"])
def test_one_draw_decides_a_job(client: httpx.Client, by: str) -> None:
    """Between two models of about equal shares, forty jobs of four requests each. The shares move a
    little from request to request, and a few jobs change with them; of independent draws 35 would.
    """
    models: Counter[str] = Counter()
    n_changed = 0
    for job in range(40):
        messages = [user(f"Question {job}")]
        seen, kept = set(), []
        for _ in range(4):
            body: dict[str, Any] = {"model": "p2l", "messages": messages}
            headers = {"X-Cost-Budget": BUDGET}
            if by == "header":
                headers["X-Session-Id"] = f"job {job}"
            elif by == "field":
                body["p2l"] = {"session": f"job {job}"}
            response = client.post("/v1/chat/completions", json=body, headers=headers)
            seen.add(response.headers["x-p2l-model"])
            kept.append(response.headers["x-p2l-kept"])
            messages = [*messages, {"role": "assistant", "content": "Yes."}, user("Go on")]
        n_changed += len(seen) > 1
        assert kept == ["new", "draw", "draw", "draw"]
        models.update(seen)
    assert n_changed <= 12
    assert len(models) == 2
    assert min(models.values()) >= 5, "between jobs it is drawn anew"


@pytest.mark.slow
def test_a_seed_of_its_own_wins_for_its_request(client: httpx.Client) -> None:
    budget = {"X_Cost_Budget": BUDGET, "X_Session_Id": "job"}
    own = model_of(ask(client, [user("Hi")], **budget))[0]
    found = set()
    for seed in range(20):
        response = ask(client, [user("Hi")], X_Route_Seed=str(seed), **budget)
        assert response.headers["x-p2l-kept"] == "new"
        receipt = receipt_of(client, response)
        assert receipt["seed"] == seed
        assert receipt["attempts"][0]["draw"] == random.Random(seed).random()
        found.add(response.headers["x-p2l-model"])
    assert len(found) == 2
    assert model_of(ask(client, [user("Hi")], **budget)) == (own, "draw")


def plan_of(gateway: Gateway, text: str, **options: Any) -> Plan:
    request = parse_chat_request({"model": "p2l", "messages": [user(text)]})
    asked = RoutingOptions(budget_usd=Decimal(BUDGET), session="job", **options)
    return asyncio.run(gateway.planner.plan(request, asked, Caller("me")))


def test_requests_that_come_at_once_have_one_draw(gateway: LiveGateway) -> None:
    """All are planned before the first is decided, and each would have opened the session."""
    inner = gateway.state.gateway
    # of one length: a longer one costs more, and its shares can lie on the other side of the draw
    plans = [plan_of(inner, text) for text in ("One", "Two", "Six")]
    plans.append(plan_of(inner, "Four", seed=5))
    assert len({plan.seed for plan in plans}) == 4
    models = []
    for plan in plans:
        board, _ = asyncio.run(inner.planner.leaderboard(plan))
        inner.planner.jobs.enter(plan)
        exchange = inner.route(plan, board, 0.0)
        inner.planner.jobs.decided(exchange)
        models.append(exchange.decision.model)
    *together, own = plans
    assert len({plan.seed for plan in together}) == 1
    assert len(set(models[:3])) == 1
    assert [plan.kept for plan in plans] == ["new", "draw", "draw", "new"]
    assert len(together[1].routing.order) == 2
    assert (own.seed, own.routing.order) == (5, ())


@pytest.mark.slow
def test_receipts_of_a_job_hold_its_draw(client: httpx.Client) -> None:
    responses = [
        ask(client, [user(f"{k}")], X_Cost_Budget=BUDGET, X_Session_Id="job") for k in range(3)
    ]
    receipts = [receipt_of(client, response) for response in responses]
    assert len({receipt["seed"] for receipt in receipts}) == 1
    assert len({receipt["attempts"][0]["draw"] for receipt in receipts}) == 1
    assert receipts[0]["attempts"][0]["request"]["order"] == []
    assert len(receipts[1]["attempts"][0]["request"]["order"]) == 2
    assert all(replay(receipt).differences == [] for receipt in receipts)


def test_route_reads_sessions_and_writes_none(client: httpx.Client) -> None:
    def route(**headers: str) -> tuple[str, str]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"messages": [user("Hi")]}
        return model_of(client.post("/v1/route", json=body, headers=sent))

    budget = {"X_Cost_Budget": BUDGET}
    assert {route(X_Session_Id="job", **budget)[1] for _ in range(3)} == {"new"}
    for job in range(12):
        name = {"X_Session_Id": f"job {job}", **budget}
        model = model_of(ask(client, [user("Hi")], **name))[0]
        assert route(**name) == (model, "draw")


@pytest.mark.parametrize("name", ["", "x" * 129, "a\tb"])
def test_a_bad_name_is_a_clear_error(client: httpx.Client, name: str) -> None:
    body = {"model": "p2l", "messages": [user("Hi")], "p2l": {"session": name}}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
    assert response.json()["error"]["param"] == "p2l.session"


def test_names_of_sessions_are_in_no_receipt(client: httpx.Client) -> None:
    response = ask(client, [user("Hi")], X_Session_Id="canary-session")
    assert "canary-session" not in json.dumps(receipt_of(client, response))


# The same loop on the other surfaces, bridged to a provider of chat completions.
def responses_body(turn: int) -> dict[str, Any]:
    items: list[Any] = [{"type": "message", "role": "user", "content": "Look"}]
    if turn == 1:
        items += [
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "found"},
        ]
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    return {"model": "p2l", "input": items, "tools": [tool]}


def messages_body(turn: int) -> dict[str, Any]:
    turns: list[Any] = [user("Look")]
    if turn == 1:
        call = {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}
        found = {"type": "tool_result", "tool_use_id": "call_1", "content": "found"}
        reminder = {"type": "text", "text": "<system-reminder>Be brief.</system-reminder>"}
        turns += [{"role": "assistant", "content": [call]}, user_of([found, reminder])]
    tool = {"name": "look", "input_schema": {"type": "object"}}
    return {"model": "p2l", "max_tokens": 300, "messages": turns, "tools": [tool]}


def user_of(content: list[Any]) -> Message:
    return {"role": "user", "content": content}


SURFACES = {"responses": responses_body, "messages": messages_body}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
def test_a_tool_loop_on_every_surface(
    client: httpx.Client, provider: FakeProvider, surface: str, stream: bool
) -> None:
    provider.script("up-middle", call_of("call_1"))
    first = {**SURFACES[surface](0), "stream": stream, "p2l": {"models": ["middle"]}}
    assert client.post(f"/v1/{surface}", json=first).status_code == 200
    response = client.post(f"/v1/{surface}", json={**SURFACES[surface](1), "stream": stream})
    assert response.status_code == 200
    assert model_of(response) == ("middle", "tool_loop")


def test_a_response_that_was_kept_is_gone_on_with(provider: FakeProvider, tmp_path: Path) -> None:
    storage = f"storage: {{url: 'sqlite:///{tmp_path}/p2l.db', keep_responses: true}}"
    provider.script("up-middle", call_of("call_1"))
    config = config_for(provider.base_url, storage)
    with LiveGateway(config, {"MAIN_KEY": KEY}) as live, client_of(live) as client:
        first = {**responses_body(0), "store": True, "p2l": {"models": ["middle"]}}
        answer = client.post("/v1/responses", json=first).json()
        output = {"type": "function_call_output", "call_id": "call_1", "output": "found"}
        second = {"model": "p2l", "previous_response_id": answer["id"], "input": [output]}
        response = client.post("/v1/responses", json={**second, "tools": first["tools"]})
        assert response.status_code == 200, response.text
        assert model_of(response) == ("middle", "tool_loop")


@pytest.fixture
def native() -> Iterator[httpx.Client]:
    """Two models of Anthropic's, of which the first is better."""
    with FakeAnthropic(api_key=KEY) as claude:
        blocks = ({"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},)
        claude.script("claude-b", Behaviour(blocks=blocks, finish_reason="tool_use"))
        config = f"""
providers: {{claude: {{kind: anthropic, base_url: "{claude.base_url}", api_key_env: CLAUDE_KEY}}}}
models:
  claude-a: {{provider: claude, input_usd_per_mtok: 3, output_usd_per_mtok: 15}}
  claude-b: {{provider: claude, input_usd_per_mtok: 1, output_usd_per_mtok: 5}}
scorer: {{fixed: {{claude-a: 1, claude-b: 0}}}}
"""
        with LiveGateway(config, {"CLAUDE_KEY": KEY}) as live, client_of(live) as client:
            yield client


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_of_a_provider_that_speaks_the_surface(
    native: httpx.Client, stream: bool
) -> None:
    first = {**messages_body(0), "stream": stream, "p2l": {"models": ["claude-b"]}}
    assert native.post("/v1/messages", json=first).status_code == 200
    second = json.loads(json.dumps(messages_body(1)).replace("call_1", "toolu_1"))
    # nothing but the id of the call is as it was
    second["messages"][0]["content"] = "A summary of what was before"
    response = native.post("/v1/messages", json={**second, "stream": stream})
    assert response.status_code == 200, response.text
    assert model_of(response) == ("claude-b", "tool_loop")
