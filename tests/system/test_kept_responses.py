"""Responses that are kept: previous_response_id, read again, listed, deleted; by the official
client, on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import LiveGateway
from openai import OpenAI
from services import PostgresServer

TOOL: Any = {"type": "function", "name": "weather", "strict": False,
             "parameters": {"type": "object", "properties": {}}}  # fmt: skip
NATIVE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed",
    "model": "up-native", "output": [{"type": "message", "id": "msg_1", "role": "assistant",
    "status": "completed", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None,
    "usage": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
}  # fmt: skip
PRICE = "input_usd_per_mtok: 1, output_usd_per_mtok: 10"
MODELS = f"""
models:
  bridged: {{provider: plain, upstream_model: up, {PRICE}}}
  native: {{provider: native, upstream_model: up-native, {PRICE}}}
  thinker: {{provider: claude, upstream_model: claude-sonnet-4-5, max_output_tokens: 9000, {PRICE}}}
scorer: {{fixed: {{bridged: 2, native: 1, thinker: 0}}}}
routing: {{retries: 0}}
"""


def config(plain: str, claude: str) -> str:
    return (
        MODELS
        + f"""
providers:
  plain: {{kind: openai, base_url: "{plain}"}}
  native: {{kind: openai, base_url: "{plain}", responses: true}}
  claude: {{kind: anthropic, base_url: "{claude}"}}
"""
    )


KEYS = {"TEAM": "sk-team", "OTHERS": "sk-others"}
AUTH = """
auth: {keys: [{name: team, key_env: TEAM}, {name: others, key_env: OTHERS, admin: true}]}
"""


class Rig:
    def __init__(self, plain: FakeProvider, claude: FakeAnthropic, url: str) -> None:
        self.plain, self.claude, self.url = plain, claude, url

    def client(self, key: str = "TEAM") -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=KEYS[key], max_retries=0)

    @property
    def sent(self) -> Any:
        return self.plain.requests[-1].body


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]
)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    url = f"sqlite:///{tmp_path_factory.mktemp('kept')}/p2l.db"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.database()
    storage = f'storage: {{url: "{url}", keep_responses: true}}\n'
    with FakeProvider() as plain, FakeAnthropic() as claude:
        full = config(plain.base_url, claude.base_url) + AUTH + storage
        with LiveGateway(full, KEYS) as gateway:
            yield Rig(plain, claude, gateway.url)


@pytest.fixture
def sdk(rig: Rig) -> Iterator[OpenAI]:
    rig.plain.requests.clear()
    rig.plain.script("up", Behaviour())
    with rig.client() as client:
        yield client


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str = "Hello from up") -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_goes_on_without_the_instructions(
    rig: Rig, sdk: OpenAI, stream: bool
) -> None:
    def ask(**options: Any) -> Any:
        answer = sdk.responses.create(model="p2l", store=True, stream=stream, **options)
        return list(answer)[-1].response if stream else answer

    first = ask(input="One", instructions="Be brief.")
    assert first.id.startswith("resp_")
    assert first.store is True
    second = ask(input=[user("Two")], previous_response_id=first.id, instructions="Be long.")
    assert second.previous_response_id == first.id
    assert rig.sent["messages"] == [
        {"role": "system", "content": "Be long."}, user("One"), said(), user("Two"),
    ]  # fmt: skip
    third = sdk.responses.create(model="p2l", input="Three", previous_response_id=second.id)
    assert third.store is False
    assert third.previous_response_id == second.id
    assert rig.sent["messages"] == [user("One"), said(), user("Two"), said(), user("Three")]
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(third.id)


def test_the_input_of_a_conversation_is_counted_with_all_that_came_before(
    rig: Rig, sdk: OpenAI
) -> None:
    first = sdk.responses.create(model="p2l", input="many words " * 50, store=True)
    alone = sdk.responses.input_tokens.count(model="p2l", input="Two")
    whole = sdk.responses.input_tokens.count(input="Two", previous_response_id=first.id)
    assert whole.input_tokens >= alone.input_tokens + 50
    with pytest.raises(openai.BadRequestError):
        rig.client("OTHERS").responses.input_tokens.count(
            input="Two", previous_response_id=first.id
        )


def test_what_is_retrieved_is_what_was_answered(rig: Rig, sdk: OpenAI) -> None:
    raw = sdk.responses.with_raw_response.create(
        model="bridged", input="x", store=True, metadata={"a": "b"}
    )
    answered = raw.http_response.json()
    again = sdk.responses.with_raw_response.retrieve(answered["id"]).http_response.json()
    assert again == answered
    assert again["usage"]["cost"] > 0
    events = list(sdk.responses.create(model="bridged", input="x", store=True, stream=True))
    assert {event.response.id for event in events if hasattr(event, "response")} == {
        events[-1].response.id
    }
    assert sdk.responses.retrieve(events[-1].response.id) == events[-1].response


def test_the_input_items_of_a_conversation_are_listed_by_page(rig: Rig, sdk: OpenAI) -> None:
    first = sdk.responses.create(model="p2l", input="One", store=True)
    second = sdk.responses.create(
        model="p2l", input=[user("Two"), user("Three")], store=True, previous_response_id=first.id
    )
    listed = list(sdk.responses.input_items.list(second.id, order="asc"))
    assert [(item.role, item.content[0].type, item.content[0].text) for item in listed] == [
        ("user", "input_text", "One"),
        ("assistant", "output_text", "Hello from up"),
        ("user", "input_text", "Two"),
        ("user", "input_text", "Three"),
    ]
    assert len({item.id for item in listed}) == 4
    assert listed[1].id == first.output[0].id
    newest_first = sdk.responses.input_items.list(second.id, limit=3)
    assert newest_first.has_more
    assert [item.id for item in newest_first.data] == [item.id for item in listed[:0:-1]]
    rest = sdk.responses.input_items.list(second.id, after=newest_first.data[-1].id)
    assert [item.id for item in rest] == [listed[0].id]
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.input_items.list(second.id, after="msg_unknown")
    assert refused.value.param == "after"
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.input_items.list(second.id, limit=101)
    assert refused.value.param == "limit"


def test_what_is_deleted_is_gone(rig: Rig, sdk: OpenAI) -> None:
    first = sdk.responses.create(model="p2l", input="One", store=True)
    second = sdk.responses.create(
        model="p2l", input="Two", store=True, previous_response_id=first.id
    )
    deleted = sdk.responses.with_raw_response.delete(first.id).http_response.json()
    assert deleted == {"id": first.id, "object": "response", "deleted": True}
    for call in (sdk.responses.retrieve, sdk.responses.delete, sdk.responses.input_items.list):
        with pytest.raises(openai.NotFoundError, match="not found"):
            call(first.id)
    assert sdk.responses.retrieve(second.id).id == second.id
    for previous in (first.id, second.id):
        with pytest.raises(openai.BadRequestError, match=first.id) as refused:
            sdk.responses.create(model="p2l", input="x", previous_response_id=previous)
        assert refused.value.code == "previous_response_not_found"
        assert refused.value.param == "previous_response_id"


def test_another_key_finds_nothing_not_even_an_admins(rig: Rig, sdk: OpenAI) -> None:
    mine = sdk.responses.create(model="p2l", input="secret", store=True)
    with rig.client("OTHERS") as other:
        for call in (
            other.responses.retrieve,
            other.responses.delete,
            other.responses.input_items.list,
        ):
            with pytest.raises(openai.NotFoundError):
                call(mine.id)
        with pytest.raises(openai.BadRequestError, match="not found"):
            other.responses.create(model="p2l", input="x", previous_response_id=mine.id)
    assert sdk.responses.retrieve(mine.id).output_text == "Hello from up"


@pytest.mark.parametrize("wrong", ["resp_1", "resp_" + "0" * 32, "\u0000", "x" * 5000])
def test_an_id_that_is_not_known(rig: Rig, sdk: OpenAI, wrong: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="p2l", input="x", previous_response_id=wrong)
    assert refused.value.code == "previous_response_not_found"


@pytest.mark.parametrize("wrong", [1, ["resp_1"], {"id": "resp_1"}])
def test_an_id_that_is_none(rig: Rig, sdk: OpenAI, wrong: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="p2l", input="x", previous_response_id=wrong)
    assert refused.value.param == "previous_response_id"


def test_tools_and_thoughts_go_on(rig: Rig, sdk: OpenAI) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    rig.claude.script("claude-sonnet-4-5", Behaviour(blocks=(thought, call)))
    asked: Any = {"model": "thinker", "tools": [TOOL], "reasoning": {"effort": "low"}}
    first = sdk.responses.create(input="Oslo?", store=True, **asked)
    result: Any = {"type": "function_call_output", "call_id": "t1", "output": "3 C"}
    sdk.responses.create(input=[result], previous_response_id=first.id, **asked)
    turns = rig.claude.chats[-1].body["messages"]
    assert turns[1]["content"] == [thought, call]
    assert turns[2]["content"][0]["tool_use_id"] == "t1"
    # the next turn may be another provider's, who did not think that and knows none of the names
    rig.plain.script("up-native", Behaviour(answer=NATIVE))
    sdk.responses.create(model="native", input=[result], previous_response_id=first.id)
    assert rig.sent["input"] == [
        {"type": "message", **user("Oslo?")},
        {"type": "function_call", "call_id": "t1", "name": "weather",
         "arguments": '{"city":"Oslo"}'},
        result,
    ]  # fmt: skip
    assert "previous_response_id" not in rig.sent


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_has_responses_keeps_nothing(rig: Rig, sdk: OpenAI, stream: bool) -> None:
    begun = NATIVE | {"status": "in_progress", "usage": None, "output": []}
    events = (
        {"type": "response.created", "response": begun, "sequence_number": 0},
        {"type": "response.completed", "response": NATIVE, "sequence_number": 1},
    )
    rig.plain.script("up-native", Behaviour(events=events) if stream else Behaviour(answer=NATIVE))
    answer: Any = sdk.responses.create(model="native", input="x", store=True, stream=stream)
    if stream:
        created, answer = [event.response for event in answer]
        assert created.id == answer.id
    assert rig.sent["store"] is False
    assert answer.id != NATIVE["id"]
    assert answer.store is True
    assert sdk.responses.retrieve(answer.id) == answer
    sdk.responses.create(model="bridged", input="y", previous_response_id=answer.id)
    assert rig.sent["messages"] == [user("x"), said("Hi"), user("y")]


def test_an_answer_that_broke_off_is_not_kept(rig: Rig, sdk: OpenAI) -> None:
    rig.plain.script("up", Behaviour(texts=("a", "b", "c"), fault=Fault.CUT, fault_after=3))
    events: list[Any] = []
    stream = sdk.responses.create(model="bridged", input="x", store=True, stream=True)
    with pytest.raises(openai.APIConnectionError):
        events.extend(event for event in stream)
    assert events[-1].type == "error"
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(events[0].response.id)


def test_bad_input_is_named_by_its_own_place(rig: Rig, sdk: OpenAI) -> None:
    first = sdk.responses.create(model="p2l", input="One", store=True)
    for wrong, param in (([{"role": "x"}], "input[0].role"), (7, "input")):
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.responses.create(model="p2l", input=wrong, previous_response_id=first.id)
        assert refused.value.param == param
    sdk.responses.create(model="p2l", previous_response_id=first.id)
    assert rig.sent["messages"] == [user("One"), said()]


def test_a_kept_response_is_not_streamed_again(rig: Rig, sdk: OpenAI) -> None:
    first = sdk.responses.create(model="p2l", input="One", store=True)
    with pytest.raises(openai.BadRequestError) as refused:
        list(sdk.responses.retrieve(first.id, stream=True))
    assert refused.value.param == "stream"


# --- nothing is kept unasked ----------------------------------------------------------------


@pytest.mark.parametrize("allowed", [False, True])
def test_nothing_is_kept_unless_both_sides_say_so(tmp_path: Path, allowed: bool) -> None:
    path = tmp_path / "p2l.db"
    storage = f'storage: {{url: "sqlite:///{path}", keep_responses: {str(allowed).lower()}}}\n'
    with FakeProvider() as plain, FakeAnthropic() as claude:
        full = config(plain.base_url, claude.base_url) + storage
        with LiveGateway(full) as gateway:
            for extra in ({}, {"store": False}, {"store": None}, {"store": True}):
                body = {"model": "bridged", "input": "canaryprompt", **extra}
                if allowed and extra.get("store"):
                    continue
                answer = httpx.post(f"{gateway.url}/v1/responses", json=body, trust_env=False)
                assert answer.status_code == (400 if extra.get("store") else 200)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("select count(*) from responses").fetchone() == (0,)
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"canaryprompt" not in written
    assert b"Hello from" not in written
