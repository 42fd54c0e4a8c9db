"""A share of live requests gets a second answer, graded blind: paid from its own money, never where
it could act or where somebody says no, and nothing of the texts stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from server.shadow.calls import KEY
from server.storage.grades import Grade, coefficients_in, latest_grades
from server.storage.spend import Spend, spend

PROMPT, FIRST, SECOND = "canaryprompt7f3a", "canaryfirst9b1c", "canarysecond2d4e"
CHAT: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": PROMPT}]}
JUDGE = """
  judge: {provider: main, upstream_model: up-judge, input_usd_per_mtok: 1, output_usd_per_mtok: 1,
          capabilities: [json_schema], expected_output_tokens: 20}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "OPEN": "key-open", "SHUT": "key-shut",
           "NARROW": "key-narrow"}  # fmt: skip
KEYS = """
auth:
  keys:
    - {name: open, key_env: OPEN}
    - {name: shut, key_env: SHUT, shadow: false}
    - {name: narrow, key_env: NARROW, models: [dear, middle]}
"""


def config(provider: FakeProvider, tmp_path: Path, learning: str) -> str:
    base = config_for(provider.base_url, KEYS)
    base = base.replace("scorer:", f"{JUDGE.lstrip(chr(10))}scorer:", 1)
    base = base.replace("fixed: {dear", "fixed: {judge: -3, dear", 1)
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db", keep_prompts: true}}\n'
    profile = "routing: {profiles: {best: {models: [dear, middle]}}}\n"
    return f"{base}{storage}{profile}learning: {{{learning}}}\n"


@pytest.fixture
def live(
    provider: FakeProvider, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[LiveGateway]:
    learning = getattr(request, "param", "share: 1, usd_per_day: 1, judge: judge")
    provider.script("up-dear", Behaviour(texts=(FIRST,)))
    provider.script("up-middle", Behaviour(texts=(SECOND,)))
    provider.script("up-judge", says("first"), says("second"))
    with LiveGateway(config(provider, tmp_path, learning), ENVIRON) as gateway:
        yield gateway


def says(better: str) -> Behaviour:
    return Behaviour(texts=(json.dumps({"reason": "r", "better": better}),))


def post(live: LiveGateway, path: str = "/v1/chat/completions", **changes: Any) -> httpx.Response:
    key = changes.pop("key", "key-open")
    body = CHAT | {"model": "p2l:best"} | changes
    return httpx.post(
        f"{live.url}{path}",
        json=body,
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=20,
    )


def until(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it does not come")


def outcomes(live: LiveGateway) -> dict[str, int]:
    assert live.state.shadow is not None
    return dict(live.state.shadow.outcomes)


def graded(live: LiveGateway) -> list[Grade]:
    until(lambda: sum(outcomes(live).values()) > 0)
    return latest_grades(live.state.store.database)


@pytest.mark.parametrize("stream", [False, True])
def test_the_second_answer_is_graded_in_both_orders(
    live: LiveGateway, provider: FakeProvider, stream: bool
) -> None:
    answer = post(live, stream=stream)
    assert FIRST in answer.text
    (grade,) = graded(live)
    assert (grade.model, grade.model_b, grade.score) == ("middle", "dear", 1.0)
    assert (grade.source, grade.key_name) == ("judge:judge:1", "open")
    assert grade.id == f"shadow/{answer.headers['x-request-id']}"
    board, models = grade.leaderboard, live.state.gateway.planner.scorer.models
    assert board is not None
    coefficients = coefficients_in(board, tuple(models))
    assert coefficients is not None
    assert coefficients[models.index("dear")] == 1.5
    shown = [sent.body["messages"][-1]["content"] for sent in provider.chats[-2:]]
    assert [text.index(FIRST) < text.index(SECOND) for text in shown] == [False, True]
    for text in shown:
        assert "dear" not in text
        assert "middle" not in text


@pytest.mark.parametrize(("path", "body"), [
    ("/v1/messages", {"messages": CHAT["messages"], "max_tokens": 100}),
    ("/v1/responses", {"input": PROMPT, "messages": None}),
])  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_answers_of_other_surfaces_are_compared_too(
    live: LiveGateway, path: str, body: dict[str, Any], stream: bool
) -> None:
    kept = {name: value for name, value in body.items() if value is not None}
    answer = httpx.post(
        f"{live.url}{path}",
        json={"model": "p2l:best", "stream": stream, **kept},
        headers={"authorization": "Bearer key-open", "anthropic-version": "2023-06-01"},
        trust_env=False,
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    assert FIRST in answer.text
    assert [grade.score for grade in graded(live)] == [1.0]


def test_a_judge_who_prefers_a_place_says_nothing(
    live: LiveGateway, provider: FakeProvider
) -> None:
    provider.script("up-judge", says("first"))
    post(live)
    assert [grade.score for grade in graded(live)] == [0.5]


def test_its_money_has_a_name_of_its_own_and_is_exact(
    live: LiveGateway, provider: FakeProvider
) -> None:
    cost = Decimal(post(live).headers["x-p2l-cost-usd"])
    graded(live)
    database = live.state.store.database

    def rows() -> dict[str, Spend]:
        found = spend(database, "key", 0.0, time.time() + 60)
        return {row.group: row for row in found}

    # Rows are written in the background: one live attempt, one second answer and two verdicts.
    until(lambda: {name: row.attempts for name, row in rows().items()} == {"open": 1, KEY: 3})
    assert rows()["open"].cost_usd == cost
    served = provider.served
    prices = {"up-middle": (1, 3), "up-judge": (1, 1)}
    mine = sum(
        served[name]["prompt"] * one + served[name]["completion"] * other
        for name, (one, other) in prices.items()
    )
    assert rows()[KEY].cost_usd == Decimal(mine).scaleb(-6)


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "changes",
    [
        {"p2l": {"shadow": False}},
        {"key": "key-shut"},
        {"key": "key-narrow"},
        {"p2l": {"models": ["dear", "middle"]}},
        {"p2l": {"exclude": ["judge"]}},
        {"p2l": {"private": False}, "tools": [TOOL]},
        {"n": 2},
        {
            "messages": [
                *CHAT["messages"],
                {"role": "assistant", "tool_calls": [{
                    "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"},
                }]},
                {"role": "tool", "tool_call_id": "c1", "content": "done"},
            ]
        },
        {"model": "dear"},
    ],
)  # fmt: skip
def test_nothing_is_asked_again_where_it_must_not(
    live: LiveGateway, provider: FakeProvider, changes: dict[str, Any]
) -> None:
    provider.script("up-middle", Behaviour(texts=(SECOND,)))
    answer = post(live, **changes)
    assert answer.status_code == 200, answer.text
    assert live.state.shadow is not None
    assert not live.state.shadow._waiting
    assert outcomes(live) == {}
    before = len(provider.chats)
    post(live)
    graded(live)
    assert len(provider.chats) == before + 4, "only the second request was asked again"


@pytest.mark.parametrize(
    "live",
    [
        "share: 0, usd_per_day: 1, judge: judge",
        "share: 1, usd_per_day: 0, judge: judge",
        "share: 1, usd_per_day: 1",
    ],
    indirect=True,
)
@pytest.mark.usefixtures("provider")
def test_it_is_off_by_default_and_where_anything_is_missing(live: LiveGateway) -> None:
    post(live)
    assert live.state.shadow is not None
    assert not live.state.shadow.is_on
    assert not live.state.shadow._waiting


@pytest.mark.parametrize("live", ["share: 1, usd_per_day: 0.003, judge: judge"], indirect=True)
def test_the_days_money_is_never_overspent(live: LiveGateway) -> None:
    for number in range(1, 4):
        post(live)
        until(lambda number=number: sum(outcomes(live).values()) == number)  # type: ignore[misc]
    assert outcomes(live) == {"no_money": 3}
    assert latest_grades(live.state.store.database) == []


@pytest.mark.parametrize(
    ("model", "behaviour", "outcome"),
    [
        ("up-middle", Behaviour(status=500), "failed"),
        ("up-middle", Behaviour(texts=("half",), finish_reason="length"), "no_answer"),
        ("up-judge", Behaviour(texts=("I cannot say",)), "no_verdict"),
        ("up-judge", Behaviour(status=503), "failed"),
    ],
)
def test_what_fails_is_counted_and_grades_nothing(
    live: LiveGateway, provider: FakeProvider, model: str, behaviour: Behaviour, outcome: str
) -> None:
    provider.script(model, behaviour)
    assert post(live).status_code == 200
    assert graded(live) == []
    assert outcomes(live) == {outcome: 1}


def test_nothing_of_the_texts_stays(
    live: LiveGateway, provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="p2l_router")
    post(live)
    graded(live)
    provider.script("up-middle", Behaviour(status=400, error={"message": f"no {PROMPT}"}))
    provider.script("up-dear", Behaviour(texts=(FIRST,)))
    post(live)
    until(lambda: sum(outcomes(live).values()) == 2)
    store = live.state.store
    until(lambda: store.n_pending == 0)
    metrics = httpx.get(f"{live.url}/metrics", trust_env=False).text
    with store.database.begin() as connection:
        for name in ("receipts", "attempts", "grades", "states", "catalogues"):
            rows = connection.exec_driver_sql(f"SELECT * FROM {name}").fetchall()
            assert not any(text in str(rows) for text in (PROMPT, FIRST, SECOND)), name
        # The caller's own prompts are kept, as configured; those of the second answers are not.
        kept = connection.exec_driver_sql("SELECT messages FROM prompts").fetchall()
    assert len(kept) == 2
    assert not any(FIRST in str(row) or SECOND in str(row) for row in kept)
    for text in (PROMPT, FIRST, SECOND):
        assert text not in caplog.text
        assert text not in metrics
    assert live.state.shadow is not None
    assert not live.state.shadow._waiting


def test_live_requests_come_first(live: LiveGateway, provider: FakeProvider) -> None:
    admission = live.state.gateway.admission
    admission._max_concurrency = 2
    post(live)
    assert live.state.shadow is not None
    admission.in_flight += 1
    try:
        time.sleep(1.2)
        assert outcomes(live) == {}
        assert len(provider.chats) == 1
    finally:
        admission.in_flight -= 1
    assert len(graded(live)) == 1


@pytest.mark.parametrize(
    "live",
    ["share: 1, usd_per_day: 1, judge: judge, min_answers: 1, every_s: 0.2"],
    indirect=True,
)
def test_the_local_layer_learns_from_the_grades(live: LiveGateway) -> None:
    post(live)
    graded(live)
    planner = live.state.gateway.planner
    until(lambda: len(planner.local.by_scope) > 0)
    (layer,) = planner.local.by_scope.values()
    assert layer.state.n_answers == 1
    prediction = layer.predict(["middle", "dear"])
    assert prediction.mean[0] - prediction.mean[1] > -1.1, "it was -1.1 before it won"
