"""The log: one JSON object a line, with request ids, and no word of what was asked."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import config_for
from serve_process import ServeProcess

from server.telemetry.logs import JsonFormatter

CHAT: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": "canary sings"}]}
FLAGS = ("--log-format", "json", "--log-level", "info")


@pytest.mark.slow
def test_every_line_is_an_object_and_every_attempt_a_line(
    tmp_path: Path, provider: FakeProvider
) -> None:
    provider.script("up-dear", Behaviour(status=500))
    environ = {"MAIN_KEY": "sk-provider-canary"}
    with ServeProcess(tmp_path, config_for(provider.base_url), *FLAGS, environ=environ) as serve:
        answer = httpx.post(f"{serve.url}/v1/chat/completions", json=CHAT, trust_env=False)
        assert answer.status_code == 200
    lines = [json.loads(line) for line in serve.said.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert "p2l-router serves" in lines[0]["message"]
    failed, good = [line for line in lines if line["logger"] == "p2l_router.attempts"]
    assert failed["request_id"] == good["request_id"] == answer.headers["x-request-id"]
    assert (failed["outcome"], good["outcome"]) == ("unavailable", "answered")
    assert Decimal(good["cost_usd"]) == Decimal(answer.headers["x-p2l-cost-usd"])
    assert "canary" not in serve.said


def test_an_exception_is_named_and_not_quoted() -> None:
    try:
        raise ValueError("the canary sings")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "it failed\nbadly", (), info)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert json.loads(text)["error"] == "ValueError"
    assert "canary" not in text
