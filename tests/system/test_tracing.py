"""OTLP traces: the hops of a request as spans, with the field's names and without its content."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for
from otlp_receiver import OtlpReceiver, attributes

from server.config.file import ConfigError, parse_settings

CHAT: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": "canary sings"}]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.slow
def test_a_request_is_a_trace_of_its_hops(provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(status=500))
    with OtlpReceiver() as receiver:
        config = config_for(provider.base_url, f"telemetry: {{otlp_endpoint: '{receiver.url}'}}")
        with (
            LiveGateway(config, {"MAIN_KEY": "sk-provider-canary"}) as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False) as client,
        ):
            headers = {"traceparent": PARENT, "x-cost-budget": "0.01"}
            body = CHAT | {"stream": True}
            answer = client.post("/v1/chat/completions", json=body, headers=headers)
            assert answer.status_code == 200
            client.post("/v1/chat/completions", json={"model": "p2l"})
    mine = [span for span in receiver.spans if span.trace_id.hex() == PARENT[3:35]]
    root = next(span for span in mine if span.name == "POST /v1/chat/completions")
    assert root.parent_span_id.hex() == PARENT[36:52]
    children = [span for span in mine if span.parent_span_id == root.span_id]
    assert len(children) == len(mine) - 1
    named = {span.name: span for span in children}
    assert named.keys() == {
        "read", "plan", "score", "decide", "chat up-dear", "chat up-middle", "answer",
    }  # fmt: skip
    order = [named[name].start_time_unix_nano for name in ("read", "plan", "score", "answer")]
    assert order == sorted(order)
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in mine)
    told = attributes(root)
    assert told["p2l.request_id"] == answer.headers["x-request-id"]
    assert told["p2l.model"] == "middle"
    assert told["http.response.status_code"] == 200
    assert attributes(named["chat up-dear"])["error.type"] == "unavailable"
    good = attributes(named["chat up-middle"])
    assert good["gen_ai.operation.name"] == "chat"
    assert good["gen_ai.provider.name"] == "main"
    assert good["gen_ai.request.model"] == good["gen_ai.response.model"] == "up-middle"
    assert good["gen_ai.request.stream"] is True
    ended = good["gen_ai.response.finish_reasons"]
    assert [one.string_value for one in ended.values] == ["stop"]
    assert good["gen_ai.usage.input_tokens"] > 0
    assert good["p2l.cost_usd"] > 0
    refused = next(span for span in receiver.spans if span.trace_id.hex() != PARENT[3:35])
    assert attributes(refused) or refused.name == "read"
    assert "canary" not in str(receiver.spans)


def test_a_receiver_that_is_away_costs_no_request(provider: FakeProvider) -> None:
    config = config_for(provider.base_url, "telemetry: {otlp_endpoint: 'http://127.0.0.1:9'}")
    with LiveGateway(config, {"MAIN_KEY": "sk-provider-canary"}) as gateway:
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=CHAT, trust_env=False)
        assert answer.status_code == 200


@pytest.mark.slow
def test_it_costs_nothing_where_it_is_off() -> None:
    script = "import server.app, sys; print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"telemetry.otlp_endpoint: must begin with http"):
        parse_settings("telemetry: {otlp_endpoint: 'localhost:4318'}")
