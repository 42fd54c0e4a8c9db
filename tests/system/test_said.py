"""A provider's own words reach the caller, in whichever shape it says them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from broken_stream import read_stream
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import LiveGateway

from server.upstream.said import error_in, said_of

KEY = "secret-canary-of-the-provider"
CONFIG = """
providers:
  openai: {{kind: openai, base_url: "{openai}", api_key_env: IT_KEY}}
  anthropic: {{kind: anthropic, base_url: "{anthropic}", api_key_env: IT_KEY}}
  gemini: {{kind: gemini, base_url: "{gemini}", api_key_env: IT_KEY}}
models:
  gpt: {{provider: openai, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  claude-sonnet-4-5: {{provider: anthropic, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  gemini-2.5-flash: {{provider: gemini, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{gpt: 2, claude-sonnet-4-5: 1, gemini-2.5-flash: 0}}}}
routing: {{retries: 0, breaker: {{consecutive_failures: 100000, min_requests: 100000}}}}
"""
MODELS = {"openai": "gpt", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}

# What was sent -> what the caller must read.
SHAPES: dict[str, tuple[object, str]] = {
    "OpenAI": ({"error": {"message": "no such size", "code": 7}}, "no such size"),
    "a list around it": ([{"error": {"message": "Invalid JSON payload"}}], "Invalid JSON payload"),
    "FastAPI's list": (
        {"detail": [{"loc": ["body", "messages", 1], "msg": "Extra inputs", "type": "x"}]},
        "body.messages.1: Extra inputs",
    ),
    "two faults at once": ({"detail": [{"msg": "one"}, {"msg": "two"}]}, "one; two"),
    "a detail within a message": ({"message": {"detail": [{"msg": "bad tools"}]}}, "bad tools"),
    "an error whose message is an object": ({"error": {"message": {"detail": "so"}}}, "so"),
    "a message at the top": ({"object": "error", "message": "at least 1"}, "at least 1"),
    "AWS": ({"__type": "ValidationException", "Message": "malformed"}, "malformed"),
    "a list of errors": ({"errors": [{"code": 7003, "message": "no route"}]}, "no route"),
    "an error as text": ({"error": "bad thing"}, "bad thing"),
    "OAuth": ({"error": {"code": 1}, "error_description": "no grant"}, "no grant"),
    "a detail as text": ({"detail": "bad detail"}, "bad detail"),
    "problem+json": ({"title": "Not Acceptable", "status": 406}, "Not Acceptable"),
    "OpenRouter, for another": (
        {
            "error": {
                "message": "Provider returned error",
                "metadata": {"raw": json.dumps({"error": {"message": "the true cause"}})},
            }
        },
        "the true cause",
    ),
    "plain text": (b"upstream says: no\r\n", "upstream says: no"),
    "a page": (b"<html><title>413 Too Large</title><p>nginx</html>", "413 Too Large"),
    "an event": (b'event: error\ndata: {"error": {"message": "in a frame"}}\n\n', "in a frame"),
}


def wire(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture(scope="module")
def fakes() -> Iterator[dict[str, FakeProvider]]:
    with FakeProvider() as openai, FakeAnthropic() as anthropic, FakeGemini() as gemini:
        yield {"openai": openai, "anthropic": anthropic, "gemini": gemini}


@pytest.fixture(scope="module")
def gateway(fakes: dict[str, FakeProvider]) -> Iterator[LiveGateway]:
    text = CONFIG.format(**{kind: fake.base_url for kind, fake in fakes.items()})
    with LiveGateway(text, {"IT_KEY": KEY}) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[httpx.Client]:
    """No model rests for what an earlier test made its provider say."""
    gateway.health.configured_anew()
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client:
        yield client


def refused(
    client: httpx.Client, fakes: dict[str, FakeProvider], kind: str, behaviour: Behaviour
) -> httpx.Response:
    fakes[kind].script(MODELS[kind], behaviour)
    body = {"model": MODELS[kind], "messages": [{"role": "user", "content": "x"}]}
    return client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_words_are_passed_on(
    client: httpx.Client, fakes: dict[str, FakeProvider], kind: str, shape: str
) -> None:
    body, words = SHAPES[shape]
    answer = refused(client, fakes, kind, Behaviour(status=400, garbage=wire(body)))
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", MODELS)
def test_words_of_a_failure_that_is_no_callers_fault(
    client: httpx.Client, fakes: dict[str, FakeProvider], kind: str
) -> None:
    body = wire({"detail": f"the queue is full {KEY}"})
    answer = refused(client, fakes, kind, Behaviour(status=500, garbage=body))
    assert answer.status_code == 502
    assert "answered with status 500" in answer.json()["error"]["message"]
    assert '"the queue is full **********"' in answer.json()["error"]["message"]


# What servers say of a path that they do not have.
NO_ENDPOINT: dict[str, object] = {
    "OpenAI": {
        "error": {
            "message": "Invalid URL (POST /chat/completions)",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    },
    "Anthropic": {"type": "error", "error": {"type": "not_found_error", "message": "Not Found"}},
    "Azure": {"error": {"code": "404", "message": "Resource not found"}},
    "FastAPI": {"detail": "Not Found"},
    "Go": b"404 page not found",
    "nginx": b"<html><head><title>404 Not Found</title></head></html>",
    "Express": b"<html><title>Error</title><pre>Cannot POST /chat/completions</pre></html>",
    "Mistral": {"message": "no Route matched with those values"},
    "nothing": b"",
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("server", NO_ENDPOINT)
def test_a_wrong_base_url_is_not_the_callers_fault(
    client: httpx.Client, fakes: dict[str, FakeProvider], kind: str, server: str
) -> None:
    behaviour = Behaviour(status=404, garbage=wire(NO_ENDPOINT[server]))
    answer = refused(client, fakes, kind, behaviour)
    assert answer.status_code == 502
    message = answer.json()["error"]["message"]
    assert f"{MODELS[kind]}: {kind} " in message, "the provider is named"
    assert "base_url" in message


@pytest.mark.parametrize("kind", MODELS)
def test_a_404_for_what_the_caller_named_is_the_callers(
    client: httpx.Client, fakes: dict[str, FakeProvider], kind: str
) -> None:
    error = {"error": {"message": "The file file-1 was not found.", "type": "not_found_error"}}
    answer = refused(client, fakes, kind, Behaviour(status=404, garbage=wire(error)))
    assert answer.status_code == 404
    assert "file-1" in answer.json()["error"]["message"]


@pytest.mark.parametrize("status", [401, 402, 403])
def test_words_about_the_operators_account_are_not(
    client: httpx.Client, fakes: dict[str, FakeProvider], status: int
) -> None:
    body = wire({"error": {"message": "organisation acme has not paid"}})
    answer = refused(client, fakes, "openai", Behaviour(status=status, garbage=body))
    assert "acme" not in answer.text


def test_a_stream_that_breaks_off_says_why(
    client: httpx.Client, fakes: dict[str, FakeProvider]
) -> None:
    fakes["anthropic"].script(
        MODELS["anthropic"], Behaviour(texts=("a", "b", "c"), fault=Fault.ERROR, fault_after=4)
    )
    body = {"model": MODELS["anthropic"], "messages": [{"role": "user", "content": "x"}],
            "max_tokens": 9, "stream": True}  # fmt: skip
    for surface in ("messages", "chat/completions"):
        answer = read_stream(client, f"/v1/{surface}", body)
        assert not answer.is_broken, "clients know the type"
        told = last_event(answer.text)
        assert told["error"]["type"] == "overloaded_error"
        assert '"Overloaded"' in told["error"]["message"]
    body = {"model": MODELS["anthropic"], "input": "x", "stream": True}
    told = last_event(read_stream(client, "/v1/responses", body).text)
    assert (told["type"], told["code"]) == ("error", "overloaded_error")
    assert '"Overloaded"' in told["message"]


@pytest.mark.parametrize("kind", MODELS)
def test_an_overload_is_told_to_those_who_wait_for_its_end(
    client: httpx.Client, fakes: dict[str, FakeProvider], kind: str
) -> None:
    error = {"error": {"type": "overloaded_error", "status": "UNAVAILABLE", "message": "Wait"}}
    fakes[kind].script(MODELS[kind], Behaviour(status=529, garbage=wire(error)))
    body = {"model": MODELS[kind], "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
    answer = client.post("/v1/messages", json=body)
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "overloaded_error"


def last_event(text: str) -> Any:
    lines = [line for line in text.splitlines() if line.startswith("data: {")]
    return json.loads(lines[-1].removeprefix("data: "))


@pytest.mark.parametrize(
    "content",
    [b"", b"   ", b"{}", b"[]", b'{"error": {}}', b'{"error": null}', b"<html>no title</html>",
     b'{"detail": [[[[[[["deep"]]]]]]]}', b"data: {}\n\n", b"null", b"\x00\x01"],
)  # fmt: skip
def test_where_nothing_is_said_nothing_is_made_up(content: bytes) -> None:
    assert error_in(content) == {}


def test_words_are_bounded_and_stay_on_their_line() -> None:
    error = error_in(b"x" * 100_000)
    assert len(error["message"]) == 2000
    assert error_in(b"one\r\ntwo\0three")["message"] == "one two three"


def test_what_was_said_stays_out_of_a_repr() -> None:
    said = said_of({"message": "the prompt", "code": 503})
    assert said is not None
    assert said.overloaded
    assert "the prompt" not in repr(said)
