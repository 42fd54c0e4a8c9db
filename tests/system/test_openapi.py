"""The OpenAPI page: served, true, and no request made from it brings the server down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from hypothesis import HealthCheck, Phase, given, settings
from live_gateway import LiveGateway, config_for
from schemathesis import openapi
from schemathesis.checks import not_a_server_error

from server.sessions import names
from server.surfaces import routing_options as options

FORWARDING = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses/input_tokens",
    "/v1/completions",
    "/v1/embeddings",
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with FakeProvider() as provider:
        text = config_for(provider.base_url).replace("api_key_env: MAIN_KEY, ", "")
        with LiveGateway(text) as gateway:
            yield gateway.url


@pytest.fixture(scope="module")
def document(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    return found


def test_the_page_is_served(url: str) -> None:
    response = httpx.get(f"{url}/docs", trust_env=False)
    assert response.status_code == 200
    assert "text/html" in response.headers["content-type"]


@pytest.mark.parametrize("path", [*FORWARDING, "/v1/route", "/v1/leaderboard"])
def test_every_body_is_described(document: dict[str, Any], path: str) -> None:
    operation = document["paths"][path]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]
    assert operation["requestBody"]["required"] is True
    assert {"200", "400", "429"} <= set(operation["responses"])
    assert operation["description"]


def test_the_callers_own_key_is_described(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/key"]["get"]
    assert "max_request_usd" in operation["description"]
    assert {"200", "401"} <= set(operation["responses"])


BOUNDED = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
def test_nothing_that_is_generated_from_it_is_a_server_error(
    url: str, document: dict[str, Any]
) -> None:
    schema = openapi.from_dict(document)
    tried: list[int] = []

    @BOUNDED
    def call(case: Any) -> None:
        response = case.call(base_url=url)
        tried.append(response.status_code)
        case.validate_response(response, checks=[not_a_server_error])

    for path in [*FORWARDING, "/v1/route", "/v1/leaderboard"]:
        given(case=schema[path]["POST"].as_strategy())(call)()
    assert len(tried) >= 40
    assert 200 in tried


@pytest.mark.parametrize("path", FORWARDING)
@pytest.mark.parametrize("body", ["[]", "5", "null", '{"model": 1}', '{"model": "p2l", "p2l": 3}'])
def test_bodies_that_it_forbids_are_named_400s(url: str, path: str, body: str) -> None:
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{url}{path}", content=body, headers=headers, trust_env=False)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert json.loads(body) is None or error["message"]


def test_every_routing_option_is_described_here_and_in_the_docs(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/chat/completions"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    described = schema["properties"]["p2l"]["properties"]
    assert described.keys() == options._BODY_FIELDS
    headers = {parameter["name"] for parameter in operation["parameters"]}
    assert {*options._HEADERS.values(), names.HEADER} <= headers
    docs = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for name in (
        *options._HEADERS.values(),
        names.HEADER,
        *(f"p2l.{name}" for name in options._BODY_FIELDS),
    ):
        assert f"`{name}`" in docs
