"""What callers say of answers moves what is chosen, for those whom it may move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for

from router.receipt import replay
from server.storage.graded_answers import answers_version, graded_answers
from server.tasks.learn_local import _of_checkpoint, lessons_of

CONFIG = """
auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B}, {name: c, key_env: C, admin: true}]}
learning: {every_s: 0.2, min_answers: 12}
limits: {feedback_per_minute: 300}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b", "C": "key-c"}
CHAT = {"messages": [{"role": "user", "content": "Which is better?"}]}
Ask = Callable[..., Any]


@pytest.fixture
def gateways(storage_url: str) -> Iterator[Callable[[], tuple[LiveGateway, Ask]]]:
    """Starts gateways on one storage."""
    storage = f'storage: {{url: "{storage_url}"}}\n'
    running: list[LiveGateway] = []
    with FakeProvider(api_key="sk-provider-canary") as provider, httpx.Client(timeout=20) as http:

        def start() -> tuple[LiveGateway, Ask]:
            live = LiveGateway(config_for(provider.base_url, CONFIG + storage), ENVIRON)
            running.append(live.__enter__())

            def ask(path: str, key: str, body: dict[str, Any] | None = None) -> Any:
                method, headers = (
                    "GET" if body is None else "POST",
                    {"authorization": f"Bearer {key}"},
                )
                answer = http.request(method, live.url + path, json=body, headers=headers)
                assert answer.status_code == 200, answer.text
                return answer

            return live, ask

        yield start
        for live in running:
            live.__exit__(None, None, None)


def rate(ask: Ask, key: str, model: str, rating: float, n: int) -> None:
    for _ in range(n):
        answer = ask("/v1/chat/completions", key, CHAT | {"model": model})
        request_id = answer.headers["x-request-id"]
        ask("/v1/feedback", key, {"request_id": request_id, "rating": rating})


def coefficients(ask: Ask, key: str) -> dict[str, float]:
    body = CHAT | {"model": "p2l", "p2l": {"seed": 1}}
    rows = ask("/v1/route", key, body).json()["alternatives"]
    return {row["model"]: row["coefficient"] for row in rows}


def leaderboard(ask: Ask, key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ask("/v1/leaderboard", key, CHAT).json()["data"]
    return rows


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "nothing has been learnt"
        time.sleep(0.1)


@pytest.mark.slow
def test_ratings_move_what_is_chosen(gateways: Callable[[], tuple[LiveGateway, Ask]]) -> None:
    live, ask = gateways()
    before = coefficients(ask, "key-a")
    assert max(before, key=before.__getitem__) == "dear"
    for key in ("key-a", "key-b"):
        rate(ask, key, "dear", 0.0, 3)
        rate(ask, key, "cheap", 1.0, 3)
    until(lambda: coefficients(ask, "key-c") != before)
    until(lambda: live.state.gateway.planner.local.by_scope["all"].state.n_answers == 12)
    now = coefficients(ask, "key-c")
    assert now["cheap"] > now["dear"]
    # Where the models stand together against the others is not for ratings to say.
    assert sum(now.values()) == pytest.approx(sum(before.values()))

    answer = ask("/v1/chat/completions", "key-c", CHAT | {"model": "p2l"})
    assert answer.headers["x-p2l-model"] == "cheap"
    request_id = answer.headers["x-request-id"]
    rows = {row["model"]: row for row in leaderboard(ask, "key-c")}
    assert rows["cheap"]["coefficient"] == now["cheap"] > rows["dear"]["coefficient"]
    low, high = rows["cheap"]["interval80"]
    assert low < now["cheap"] < high
    assert rows["cheap"]["rests_on"].endswith("12 graded or compared answers here (all)")
    assert rows["elsewhere"]["interval80"] is None
    receipt = ask(f"/v1/decisions/{request_id}", "key-c").json()
    version = live.state.gateway.planner.local.version
    assert receipt["local"] == {"version": version, "scope": "all", "n_answers": 12}
    assert replay(receipt).differences == []
    sd = receipt["attempts"][0]["request"]["coefficient_shifts"]["cheap"][1]
    assert 0.05 < sd < 0.8
    other, ask_other = gateways()
    until(lambda: other.state.gateway.planner.local.version == version)
    assert coefficients(ask_other, "key-c") == now, "one layer for all gateways, to the last bit"


@pytest.mark.slow
def test_a_key_alone_moves_nobody_else(gateways: Callable[[], tuple[LiveGateway, Ask]]) -> None:
    live, ask = gateways()
    before = coefficients(ask, "key-a")
    rate(ask, "key-a", "dear", 0.0, 10)
    rate(ask, "key-a", "cheap", 1.0, 10)
    layers = lambda: live.state.gateway.planner.local.by_scope  # noqa: E731
    until(lambda: "key:a" in layers() and layers()["key:a"].state.n_answers == 20)
    assert coefficients(ask, "key-a") != before
    assert coefficients(ask, "key-b") == before


CONFIG_OF_PLACED = """
learning: {every_s: 0.2}
providers: {main: {kind: openai, base_url: "URL", api_key_env: MAIN_KEY}}
models:
  gpt-6-luna: {provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
  gpt-6.1-luna: {provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
scorer: {fixed: {gpt-4o-mini: 0.3, claude-sonnet-4: 0.5}}
"""


def test_what_another_checkpoint_said_of_prompts_is_left_out(
    gateways: Callable[[], tuple[LiveGateway, Ask]],
) -> None:
    """Its columns may have the same names."""
    live, ask = gateways()
    rate(ask, "key-a", "p2l", 1.0, 1)
    database, frame = live.state.store.database, live.state.gateway.planner.frame()
    assert frame is not None

    def boards(checkpoint: str | None) -> list[bool]:
        stored = [_of_checkpoint(one, checkpoint) for one in graded_answers(database)]
        assert len(lessons_of(database, frame, checkpoint)) == len(stored) == 1
        return [one.board is not None for one in stored]

    until(lambda: sum(answers_version(database)) > 0)
    assert boards("fixed") == boards(None) == [True]
    assert boards("sha256:another") == [False]


@pytest.mark.slow
def test_models_that_share_a_column_are_compared_and_told_apart() -> None:
    with (
        FakeProvider(api_key="sk-provider-canary") as provider,
        LiveGateway(CONFIG_OF_PLACED.replace("URL", provider.base_url), ENVIRON) as live,
        httpx.Client(base_url=live.url, timeout=20) as http,
    ):
        cards = live.state.gateway.planner.catalogue.values()
        assert {card.leaderboard_name for card in cards} == {"gpt-4o-mini"}
        pair = {"model_a": "gpt-6-luna", "model_b": "gpt-6.1-luna"}
        for _ in range(20):
            request_id = http.post("/v1/chat/completions", json=CHAT | {"model": "p2l"}).headers[
                "x-request-id"
            ]
            body = {"request_id": request_id, "winner": "model_a", "comparison": pair}
            assert http.post("/v1/feedback", json=body).status_code == 200
        planner = live.state.gateway.planner
        until(lambda: "key:anonymous" in planner.local.by_scope)
        rows = http.post("/v1/leaderboard", json=CHAT).json()["data"]
        at = {row["model"]: row["coefficient"] for row in rows}
        assert at["gpt-6-luna"] > at["gpt-6.1-luna"] + 0.3

        settings = live.state.settings
        off = settings.learning.model_copy(update={"local": False})
        live.state.settings = settings.model_copy(update={"learning": off})
        until(lambda: not planner.local.by_scope)


CONFIG_OF_BUNDLED = """
auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B, admin: true}]}
learning: {every_s: 0.2}
limits: {feedback_per_minute: 300}
storage: {url: "STORAGE"}
providers: {main: {kind: openai, base_url: "URL", api_key_env: MAIN_KEY}}
models:
  gpt-4o-mini: {provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
  llama-3.1-8b-instruct: {provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
"""
KINDS = ("Solve {} x + 3 = {}.", "Write SQL that sums column {} of table t{}.")


@pytest.mark.slow
def test_from_a_hundred_prompts_on_models_have_heads_that_every_gateway_reads_alike(
    storage_url: str,
) -> None:
    asked = [KINDS[n % 2].format(n, n * n) for n in range(110)]
    told = {"messages": [{"role": "user", "content": KINDS[0].format(7, 1000)}]}
    with FakeProvider(api_key="sk-provider-canary") as provider:
        text = CONFIG_OF_BUNDLED.replace("URL", provider.base_url).replace("STORAGE", storage_url)
        with LiveGateway(text, ENVIRON) as live, httpx.Client(timeout=20) as http:

            def post(url: str, path: str, key: str, body: dict[str, Any]) -> httpx.Response:
                headers = {"authorization": f"Bearer {key}"}
                answer = http.post(url + path, json=body, headers=headers)
                assert answer.status_code == 200, answer.text
                return answer

            for n, prompt in enumerate(asked):
                key = ("key-a", "key-b")[n // 2 % 2]
                body = {"model": "p2l", "messages": [{"role": "user", "content": prompt}]}
                found = post(live.url, "/v1/chat/completions", key, body)
                rating = {"request_id": found.headers["x-request-id"], "rating": float(n % 2)}
                post(live.url, "/v1/feedback", key, rating)
            local = lambda: live.state.gateway.planner.local  # noqa: E731
            until(lambda: "all" in local().by_scope and local().by_scope["all"].state.n_answers
                  == len(asked))  # fmt: skip
            axes = local().axes
            assert axes is not None
            assert 1 <= axes.n == local().by_scope["all"].state.models["gpt-4o-mini"].n_axes
            answer = post(live.url, "/v1/chat/completions", "key-b", told | {"model": "p2l"})
            with LiveGateway(text, ENVIRON) as other:
                until(lambda: other.state.gateway.planner.local.version == local().version)
                routed = [
                    post(url, "/v1/route", "key-b", told | {"model": "p2l", "p2l": {"seed": 1}})
                    for url in (live.url, other.url)
                ]
                mine, its = (
                    [
                        (row["model"], row["coefficient"], row["sd"])
                        for row in one.json()["alternatives"]
                    ]
                    for one in routed
                )
                assert mine == its, "to the last bit"
            headers = {"authorization": "Bearer key-b"}
            name = answer.headers["x-request-id"]
            receipt = http.get(f"{live.url}/v1/decisions/{name}", headers=headers).json()
            assert receipt["local"]["version"] == local().version
            assert replay(receipt).differences == []
