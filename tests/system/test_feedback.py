"""POST /v1/feedback: of the key's own requests, once; exported as what `train` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from p2l_model.data.files import load_votes
from server.cli import main

CHAT = {"model": "p2l", "messages": [{"role": "user", "content": "Which is better?"}]}
PAIR = {"comparison": {"model_a": "dear", "model_b": "cheap"}}
KEYS = """
auth: {keys: [{name: a, key_env: A}, {name: b, key_env: B}]}
limits: {feedback_per_minute: 9}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "B": "key-b"}


@pytest.fixture(params=[False, True])
def keep_prompts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def config(provider: FakeProvider, tmp_path: Path, keep_prompts: bool) -> Path:
    keep = str(keep_prompts).lower()
    storage = f'storage: {{url: "sqlite:///{tmp_path}/p2l.db", keep_prompts: {keep}}}\n'
    path = tmp_path / "config.yaml"
    path.write_text(config_for(provider.base_url, KEYS + storage))
    return path


@pytest.fixture
def client(config: Path) -> Iterator[httpx.Client]:
    with (
        LiveGateway(config.read_text(), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, verify=False, timeout=20) as http,
    ):
        yield http


def asked(client: httpx.Client, **changes: Any) -> str:
    response = client.post(
        "/v1/chat/completions", json=CHAT | changes, headers={"authorization": "Bearer key-a"}
    )
    return response.headers["x-request-id"]


def say(client: httpx.Client, request_id: str, key: str = "key-a", **body: Any) -> httpx.Response:
    return client.post(
        "/v1/feedback",
        json={"request_id": request_id, **body},
        headers={"authorization": f"Bearer {key}"},
    )


def exported(config: Path, capsys: pytest.CaptureFixture[str]) -> tuple[list[Any], list[Any]]:
    files = [config.parent / "votes.jsonl", config.parent / "scores.jsonl"]
    out, scores = map(str, files)
    flags = ["--out", out, "--scores", scores, "--config", str(config), "--json"]
    assert main(["feedback", "export", *flags]) == 0
    votes, rated = ([json.loads(line) for line in file.read_text().splitlines()] for file in files)
    report = json.loads(capsys.readouterr().out)
    assert (report["votes"], report["scores"]) == (len(votes), len(rated))
    return votes, rated


def test_an_opinion_becomes_a_vote_only_where_the_prompt_may_be_kept(
    client: httpx.Client, config: Path, keep_prompts: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(client, asked(client), winner="model_a", **PAIR).status_code == 200
    assert say(client, asked(client, stream=True), rating=0.25).status_code == 200
    votes, scores = exported(config, capsys)
    assert len(votes) == len(scores) == (1 if keep_prompts else 0)
    if keep_prompts:
        assert votes[0] | {"user": "a"} == votes[0]
        assert votes[0]["prompt"] == ["Which is better?"]
        assert scores[0] == {
            "prompt": ["Which is better?"], "model": "dear", "score": 0.25, "user": "a",
        }  # fmt: skip


def test_messages_sent_along_make_it_a_vote_and_train_reads_it(
    client: httpx.Client, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = {"messages": CHAT["messages"], "winner": "tie", **PAIR}
    assert say(client, asked(client), **sent).status_code == 200
    votes, _ = exported(config, capsys)
    assert [vote["winner"] for vote in votes] == ["tie"]
    table = load_votes([config.parent / "votes.jsonl"])
    assert len(table) == 1
    assert set(table.models) == {"dear", "cheap"}


def test_once_by_its_own_key_and_not_too_often(client: httpx.Client) -> None:
    name = asked(client)
    assert say(client, name, key="key-b", rating=1).status_code == 404
    assert say(client, "req_0", rating=1).json()["error"]["code"] == "request_not_found"
    assert say(client, name, rating=1).status_code == 200
    again = say(client, name, rating=0)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "feedback_exists")
    statuses = [say(client, name, rating=0).status_code for _ in range(10)]
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "winner"),
        ({"rating": 1, "winner": "tie", **PAIR}, "winner"),
        ({"rating": 2}, "rating"),
        ({"rating": True}, "rating"),
        ({"winner": "me", **PAIR}, "winner"),
        ({"winner": "tie"}, "comparison"),
        ({"winner": "tie", "comparison": {"model_a": "dear", "model_b": "dear"}}, "comparison"),
        (
            {"winner": "tie", "comparison": {"model_a": "x", "model_b": "dear"}},
            "comparison.model_a",
        ),
        ({"rating": 1, "messages": []}, "messages"),
        ({"rating": 1, "colour": "red"}, "colour"),
    ],
)
@pytest.mark.parametrize("keep_prompts", [False], indirect=True)
def test_bad_fields_are_named(client: httpx.Client, body: dict[str, Any], param: str) -> None:
    response = say(client, "req_0", **body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("keep_prompts", [False], indirect=True)
def test_what_was_not_answered_cannot_be_rated(
    client: httpx.Client, provider: FakeProvider
) -> None:
    provider.script("*", Behaviour(status=500))
    assert say(client, asked(client), rating=1).status_code == 400


def in_session(client: httpx.Client, model: str, session: str, key: str = "key-a") -> str:
    headers = {"authorization": f"Bearer {key}", "x-session-id": session, "x-route-models": model}
    response = client.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert response.status_code == 200
    return response.headers["x-request-id"]


def of_session(client: httpx.Client, session: Any, **body: Any) -> httpx.Response:
    return client.post(
        "/v1/feedback",
        json={"session_id": session, **body},
        headers={"authorization": "Bearer key-a"},
    )


@pytest.mark.parametrize("keep_prompts", [True], indirect=True)
def test_the_outcome_of_a_job_is_one_opinion_of_its_main_model(
    client: httpx.Client, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_session(client, "cheap", "job")
    first = in_session(client, "dear", "job")
    in_session(client, "dear", "job")
    in_session(client, "cheap", "another job")
    told = of_session(client, "job", rating=0.75)
    assert (told.status_code, told.json()["request_id"]) == (200, first)
    again = of_session(client, "job", rating=0)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "feedback_exists")
    _, scores = exported(config, capsys)
    assert [(row["model"], row["score"]) for row in scores] == [("dear", 0.75)]


@pytest.mark.parametrize("keep_prompts", [False], indirect=True)
def test_the_outcome_of_a_job_counts_answers_that_the_database_does_not_have_yet(
    client: httpx.Client,
) -> None:
    in_session(client, "cheap", "job")
    # What a key has spent is read once everything so far is stored.
    assert client.get("/v1/key", headers={"authorization": "Bearer key-a"}).status_code == 200
    first = in_session(client, "dear", "job")
    in_session(client, "dear", "job")
    told = of_session(client, "job", rating=1)
    assert (told.status_code, told.json()["request_id"]) == (200, first)


@pytest.mark.parametrize("keep_prompts", [False], indirect=True)
def test_a_session_of_another_key_or_of_nobody_has_no_outcome(client: httpx.Client) -> None:
    in_session(client, "dear", "theirs", key="key-b")
    for session in ("theirs", "nobody's"):
        missing = of_session(client, session, rating=1)
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "session_not_found"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"session_id": "", "rating": 1}, "session_id"),
        ({"session_id": 7, "rating": 1}, "session_id"),
        ({"session_id": "a\nb", "rating": 1}, "session_id"),
        ({"session_id": "a" * 129, "rating": 1}, "session_id"),
        ({"session_id": "job", "winner": "tie", **PAIR}, "rating"),
        ({"session_id": "job", "request_id": "req_0", "rating": 1}, "request_id"),
        ({"rating": 1}, "request_id"),
    ],
)
@pytest.mark.parametrize("keep_prompts", [False], indirect=True)
def test_bad_fields_of_an_outcome_are_named(
    client: httpx.Client, body: dict[str, Any], param: str
) -> None:
    response = client.post("/v1/feedback", json=body, headers={"authorization": "Bearer key-a"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
