"""Sessions that two gateways share in a real Redis: whichever of them is asked, the model of a tool
loop stays and a job has one draw, with Redis killed or stopped in the middle too."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for
from serve_process import ServeProcess
from services import RedisServer, redis_server

from router.receipt import replay
from server.gateway.shared_sessions import SharedSessions

pytestmark = pytest.mark.services
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b"}
# between the cost of the cheap model and of the dear one: both answer half of the jobs
BUDGET = "0.0008"
Message = dict[str, Any]


@contextmanager
def gateways(
    provider: FakeProvider,
    server: RedisServer,
    tmp_path: Path,
    names: tuple[str, ...] = ("one", "one"),
    extra: str = "",
    prefix: str | None = None,
) -> Iterator[list[httpx.Client]]:
    """A client of each gateway. names: of their databases."""
    prefix = prefix or f"t{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        clients = []
        for name in names:
            storage = f'storage: {{url: "sqlite:///{tmp_path}/{name}.db"}}\n'
            redis = f"redis: {{url: '{server.url}', prefix: {prefix}}}\n"
            config = config_for(provider.base_url, redis + storage + extra)
            live = stack.enter_context(LiveGateway(config, ENVIRON))
            client = httpx.Client(base_url=live.url, trust_env=False, timeout=20)
            clients.append(stack.enter_context(client))
            clients[-1].headers["x-test"] = name
        yield clients


@pytest.fixture(
    params=[
        pytest.param(("one", "one"), id="one_database", marks=pytest.mark.slow),
        pytest.param(("one", "other"), id="two_databases"),
    ]
)
def both(
    provider: FakeProvider,
    redis: RedisServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[httpx.Client]]:
    # A busy machine stops everything for longer than a request should wait for Redis.
    monkeypatch.setattr("server.gateway.shared_sessions.TIMEOUT_S", 10.0)
    with gateways(provider, redis, tmp_path, request.param) as clients:
        yield clients


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def asked(call: str) -> Message:
    function = {"name": "look", "arguments": "{}"}
    call_of = {"id": call, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call_of]}


def result(call: str) -> Message:
    return {"role": "tool", "tool_call_id": call, "content": f"found {call}"}


def calls(call: str) -> Behaviour:
    message = asked(call)
    deltas = ({"tool_calls": [{"index": 0, **message["tool_calls"][0]}]},)
    return Behaviour(deltas=deltas, message=message, finish_reason="tool_calls")


def ask(
    client: httpx.Client, messages: list[Message], *, stream: bool = False, **headers: str
) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"model": "p2l", "messages": messages, "stream": stream}
    response = client.post("/v1/chat/completions", json=body, headers=sent)
    assert response.status_code == 200, response.text
    return response


def model_of(response: httpx.Response) -> tuple[str, str]:
    return response.headers["x-p2l-model"], response.headers["x-p2l-kept"]


def receipt_of(client: httpx.Client, response: httpx.Response) -> Any:
    for _ in range(1000):
        found = client.get(f"/v1/decisions/{response.headers['x-request-id']}")
        if found.status_code == 200:
            return found.json()
        time.sleep(0.01)
    raise AssertionError("there is no receipt")


def settled() -> None:
    """What is written in the background takes about a millisecond."""
    time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", [None, "job"])
@pytest.mark.parametrize("has_ids", [True, False])
def test_a_tool_loop_that_alternates_between_gateways_keeps_its_model(
    both: list[httpx.Client],
    provider: FakeProvider,
    stream: bool,
    name: str | None,
    has_ids: bool,
) -> None:
    """has_ids: whether each call has an id of its own; else only the conversation tells."""
    ids = [f"call_{turn}" if has_ids else "call_0" for turn in range(8)]
    provider.script("up-cheap", *map(calls, ids))
    named = {} if name is None else {"X_Session_Id": name}
    messages = [user("Look")]
    first = ask(both[0], messages, stream=stream, X_Route_Models="cheap", **named)
    assert model_of(first) == ("cheap", "new")
    for turn in range(1, 8):
        settled()
        messages = [*messages, asked(ids[turn - 1]), result(ids[turn - 1])]
        response = ask(both[turn % 2], messages, stream=stream, **named)
        assert model_of(response) == ("cheap", "tool_loop"), f"alone, dear is the best ({turn})"
    receipt = receipt_of(both[1], response)
    assert receipt["scoring"] == ("kept" if has_ids else "prompt"), (
        "its leaderboard came with a call"
    )
    assert replay(receipt).differences == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, "job"])
def test_a_fast_client_does_not_outrun_what_is_shared(
    both: list[httpx.Client], provider: FakeProvider, name: str | None
) -> None:
    """Nobody waits for the write; results that nobody knows are looked for once more."""
    kept = []
    for job in range(20):
        named = {} if name is None else {"X_Session_Id": f"{name} {job}"}
        ids = [f"call_{job}_{turn}" for turn in range(5)]
        provider.script("up-cheap", *map(calls, ids))
        messages = [user(f"Look {job}")]
        ask(both[0], messages, X_Route_Models="cheap", **named)
        for turn in range(1, 5):
            messages = [*messages, asked(ids[turn - 1]), result(ids[turn - 1])]
            kept.append(model_of(ask(both[turn % 2], messages, **named)))
    assert kept == [("cheap", "tool_loop")] * 80


@pytest.mark.slow
def test_workers_of_one_machine_share_sessions(
    provider: FakeProvider, redis: RedisServer, tmp_path: Path
) -> None:
    """Each request comes over a connection of its own, which any of them may accept."""
    ids = [f"call_{turn}" for turn in range(16)]
    provider.script("up-cheap", *map(calls, ids))
    extra = f"redis: {{url: '{redis.url}', prefix: t{uuid.uuid4().hex[:8]}}}\n"
    config = config_for(provider.base_url, extra)
    messages = [user("Look")]
    with ServeProcess(tmp_path, config, "--workers", "2", environ=ENVIRON) as gateway:
        for turn, call in enumerate(ids):
            with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client:
                headers = {"X_Route_Models": "cheap"} if turn == 0 else {}
                response = ask(client, messages, **headers)
            assert model_of(response) == ("cheap", "tool_loop" if turn > 0 else "new")
            messages = [*messages, asked(call), result(call)]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["name", "words"])
def test_a_mix_is_drawn_from_once(both: list[httpx.Client], by: str) -> None:
    models = set()
    for job in range(15):
        named = {"X_Session_Id": f"job {job}"} if by == "name" else {}
        messages, seen, seeds = [user(f"Question {job}")], [], set()
        for turn in range(4):
            client = both[turn % 2]
            response = ask(client, messages, X_Cost_Budget=BUDGET, **named)
            seen.append(response.headers["x-p2l-kept"])
            seeds.add(receipt_of(client, response)["seed"])
            models.add(response.headers["x-p2l-model"])
            messages = [*messages, {"role": "assistant", "content": "Yes."}, user("Go on")]
            settled()
        assert len(seeds) == 1
        assert seen == ["new", "draw", "draw", "draw"]
    assert len(models) == 2


@pytest.mark.slow
def test_models_that_one_gateway_has_met_are_in_order_at_the_other(
    both: list[httpx.Client],
) -> None:
    headers = {"X_Session_Id": "job", "X_Cost_Budget": BUDGET}
    for client in both:
        ask(client, [user("Hi")], X_Route_Models="dear,cheap", **headers)
        settled()
    ask(both[0], [user("And")], X_Route_Models="middle", X_Session_Id="job")
    settled()
    messages = [user("And"), {"role": "assistant", "content": "Yes."}, user("Go on")]
    receipt = receipt_of(both[1], ask(both[1], messages, **headers))
    assert sorted(receipt["attempts"][0]["request"]["order"]) == ["cheap", "dear", "middle"]
    assert receipt["attempts"][0]["request"]["order"][2] == "middle"


@pytest.mark.slow
def test_requests_that_come_to_both_at_once_have_one_draw(both: list[httpx.Client]) -> None:
    for job in range(8):
        with ThreadPoolExecutor(8) as pool:
            headers = {"X_Session_Id": f"at once {job}", "X_Cost_Budget": BUDGET}

            def one(n: int, headers: dict[str, str] = headers) -> Any:
                client = both[n % 2]
                return receipt_of(client, ask(client, [user(f"Part {n}")], **headers))

            assert len({receipt["seed"] for receipt in pool.map(one, range(8))}) == 1


def test_what_a_provider_holds_of_a_conversation_is_shared(
    both: list[httpx.Client], provider: FakeProvider
) -> None:
    usage = {"prompt_tokens": 3000, "completion_tokens": 10, "total_tokens": 3010}
    provider.script("up-dear", Behaviour(usage=usage))
    messages = [user("Word " * 3000)]
    ask(both[0], messages)
    settled()
    messages = [*messages, {"role": "assistant", "content": "Yes."}, user("Go on")]
    receipt = receipt_of(both[1], ask(both[1], messages))
    assert receipt["attempts"][0]["request"]["cached_tokens"] == {"dear": 3000}


@pytest.mark.slow
def test_the_money_of_a_session_without_a_name_is_shared(both: list[httpx.Client]) -> None:
    messages = [user("Hello")]
    spent = []
    for turn in range(3):
        answer = ask(both[turn % 2], messages, X_Session_Budget="1")
        spent.append(float(answer.headers["x-p2l-session-cost-usd"]))
        messages = [*messages, {"role": "assistant", "content": "Hi"}, user("On")]
        settled()
    assert spent == sorted(set(spent))
    assert spent[2] > 2 * spent[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, "job"])
def test_a_budget_that_one_gateway_was_given_holds_at_the_other(
    both: list[httpx.Client], name: str | None
) -> None:
    named = {} if name is None else {"X_Session_Id": name}
    messages = [user("Hello")]
    first = ask(both[0], messages, X_Session_Budget="0.02", **named)
    settled()
    messages = [*messages, {"role": "assistant", "content": "Hi"}, user("On")]
    second = ask(both[1], messages, **named)
    left = [float(answer.headers["x-p2l-session-left-usd"]) for answer in (first, second)]
    assert 0 < left[1] < left[0] < 0.02


@pytest.mark.slow
def test_keys_never_share_a_session(
    provider: FakeProvider, redis: RedisServer, tmp_path: Path
) -> None:
    keys = "auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B}]}"
    with gateways(provider, redis, tmp_path, extra=keys) as (one, other):
        provider.script("up-cheap", calls("call_1"))
        one.headers["authorization"] = "Bearer key-a"
        other.headers["authorization"] = "Bearer key-b"
        ask(one, [user("Look")], X_Route_Models="cheap", X_Session_Id="job")
        settled()
        loop = [user("Look"), asked("call_1"), result("call_1")]
        assert model_of(ask(other, loop, X_Session_Id="job")) == ("dear", "new")
        other.headers["authorization"] = "Bearer key-a"
        assert model_of(ask(other, loop, X_Session_Id="job")) == ("cheap", "tool_loop")


def test_redis_holds_neither_names_nor_texts_and_forgets(
    provider: FakeProvider, redis: RedisServer, tmp_path: Path
) -> None:
    with gateways(provider, redis, tmp_path, prefix="private") as (one, other):
        provider.script("up-cheap", calls("call-canary"))
        headers = {"X_Session_Id": "name-canary", "X_Route_Models": "cheap"}
        ask(one, [user("text-canary")], **headers)
        settled()
        ask(other, [user("text-canary"), asked("call-canary"), result("call-canary")], **headers)
        settled()
        held = dump(redis, "{private}:session:*")
    assert 3 <= len(held) <= 6
    assert all(0 < ttl <= 86_400 for ttl, _ in held.values())
    everything = b"".join(key + value for key, (_, value) in held.items())
    assert b"canary" not in everything
    assert b'"cheap"' in everything


def dump(server: RedisServer, pattern: str) -> dict[bytes, tuple[int, bytes]]:
    """Key -> (seconds to live, value)."""
    from redis import Redis

    with Redis.from_url(server.url) as connection:
        keys = list(connection.scan_iter(pattern))
        return {key: (connection.ttl(key), connection.get(key) or b"") for key in keys}


def n_reads(server: RedisServer) -> int:
    """Each look-up is one command."""
    from redis import Redis

    with Redis.from_url(server.url) as connection:
        stats = connection.info("commandstats")
    return int(stats.get("cmdstat_mget", {"calls": 0})["calls"])


@pytest.mark.slow
def test_a_process_keeps_a_bounded_number_there(
    provider: FakeProvider, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.gateway.shared_sessions._MOST_ENTRIES", 4)
    with gateways(provider, redis, tmp_path, ("one",), prefix="bounded") as (one,):
        for job in range(10):
            ask(one, [user(f"{job}")], X_Session_Id=f"job {job}")
            settled()
        held = dump(redis, "{bounded}:session:*")
    assert 4 <= len(held) <= 6, "what is dropped goes with the next write"


@pytest.mark.slow
def test_redis_is_asked_only_for_what_is_not_known_here_and_once(
    provider: FakeProvider, tmp_path: Path
) -> None:
    with redis_server() as server, gateways(provider, server, tmp_path) as (one, other):
        ids = [f"call_{turn}" for turn in range(4)]
        provider.script("up-cheap", *map(calls, ids))
        settled()

        def reads(client: httpx.Client, messages: list[Message], **headers: str) -> int:
            before = n_reads(server)
            ask(client, messages, **headers)
            return n_reads(server) - before

        messages = [user("Look")]
        assert reads(one, messages, X_Route_Models="cheap") == 0
        for turn in range(1, 3):
            messages = [*messages, asked(ids[turn - 1]), result(ids[turn - 1])]
            assert reads(one, messages) == 0
        messages = [*messages, asked(ids[2]), result(ids[2])]
        settled()
        assert reads(other, messages) == 1
        assert reads(other, [user("Hi")], X_Session_Id="job") == 1
        assert reads(other, [user("Hi")], X_Session_Id="job") == 0
        # routing asks, and opens nothing
        n_keys = len(dump(server, "*:session:*"))
        other.post("/v1/route", json={"messages": [user("x")]}, headers={"x-session-id": "y"})
        settled()
        assert len(dump(server, "*:session:*")) == n_keys


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One for each time that a request has waited for Redis."""
    found: list[str] = []
    asked_of = SharedSessions._asked

    async def noted(self: SharedSessions, *args: Any) -> Any:
        found.append("asked")
        return await asked_of(self, *args)

    monkeypatch.setattr(SharedSessions, "_asked", noted)
    return found


@pytest.mark.slow
def test_redis_that_is_killed_in_the_middle_stops_nobody(
    provider: FakeProvider,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    waits: list[str],
) -> None:
    with redis_server() as server, gateways(provider, server, tmp_path) as (one, other):
        ids = [f"call_{turn}" for turn in range(8)]
        provider.script("up-cheap", *map(calls, ids))
        loop = [user("Look")]
        ask(one, loop, X_Route_Models="cheap")
        waits.clear()
        server.stop()
        for turn in range(1, 5):
            loop = [*loop, asked(ids[turn - 1]), result(ids[turn - 1])]
            assert model_of(ask(one, loop)) == ("cheap", "tool_loop"), "it has its own memory"
            assert ask(other, [user("Hi"), {"role": "assistant", "content": "a"}, user("b")])
        assert len(waits) <= 2, "each gateway tries once, and then leaves it alone"
        assert "this process knows its own sessions only" in caplog.text
        assert gauge(one) == 0
        server.start()  # it has lost everything
        deadline = time.monotonic() + 15
        while gauge(one) + gauge(other) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        loop = [*loop, asked(ids[4]), result(ids[4])]
        assert model_of(ask(one, loop)) == ("cheap", "tool_loop")
        settled()
        loop = [*loop, asked(ids[5]), result(ids[5])]
        assert model_of(ask(other, loop)) == ("cheap", "tool_loop"), "it is shared again"


def gauge(client: httpx.Client) -> float:
    text = client.get("/metrics").text
    name = "p2l_gateway_shared_sessions_up "
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.removeprefix(name))


@pytest.mark.slow
def test_redis_that_hangs_stops_nobody(
    provider: FakeProvider, tmp_path: Path, waits: list[str]
) -> None:
    with redis_server() as server, gateways(provider, server, tmp_path) as (one, other):
        ask(one, [user("Hi")], X_Session_Id="job")
        waits.clear()
        server.signal(signal.SIGSTOP)
        try:
            for job in range(8):
                ask((one, other)[job % 2], [user("Hi")], X_Session_Id=f"job {job}")
        finally:
            server.signal(signal.SIGCONT)
        assert len(waits) <= 2, "each gateway waits half a second, once"


@pytest.mark.slow
def test_without_redis_a_restart_draws_anew(provider: FakeProvider, tmp_path: Path) -> None:
    """The money of a session is in the ledger: see test_session_budgets."""
    config = config_for(provider.base_url, f'storage: {{url: "sqlite:///{tmp_path}/p2l.db"}}')
    seeds = set()
    for _ in range(2):
        with (
            LiveGateway(config, ENVIRON) as live,
            httpx.Client(base_url=live.url, trust_env=False) as client,
        ):
            responses = [ask(client, [user("Hi")], X_Session_Id="job") for _ in range(2)]
            assert [r.headers["x-p2l-kept"] for r in responses] == ["new", "draw"]
            seeds.add(receipt_of(client, responses[0])["seed"])
    assert len(seeds) == 2


@pytest.mark.slow
def test_a_gateway_that_starts_anew_goes_on_with_what_redis_holds(
    provider: FakeProvider, redis: RedisServer, tmp_path: Path
) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}"
    provider.script("up-cheap", calls("call_1"))
    headers = {"X_Session_Id": "job", "X_Cost_Budget": BUDGET}
    with gateways(provider, redis, tmp_path, ("one",), prefix=prefix) as (one,):
        ask(one, [user("Look")], X_Route_Models="cheap")
        seed = receipt_of(one, ask(one, [user("Hi")], **headers))["seed"]
        settled()
    with gateways(provider, redis, tmp_path, ("one",), prefix=prefix) as (again,):
        loop = [user("Look"), asked("call_1"), result("call_1")]
        assert model_of(ask(again, loop)) == ("cheap", "tool_loop")
        response = ask(again, [user("Hi")], **headers)
        assert response.headers["x-p2l-kept"] == "draw"
        assert receipt_of(again, response)["seed"] == seed
