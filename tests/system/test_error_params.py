"""`param` of an error names where the value came from: the header, the field of the caller's own
API, or the key of the configuration."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from live_gateway import LiveGateway, config_for
from whole_requests import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES

from router.errors import ConstraintsInfeasibleError, InvalidRoutingError
from server.errors import InvalidRequestError
from server.gateway.failures import from_router
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.forwarded import parse_completions_request, parse_embeddings_request
from server.surfaces.messages.request import parse_messages_request
from server.surfaces.responses.request import parse_responses_request

SURFACES: dict[str, tuple[dict[str, Any], Callable[[Mapping[str, Any]], object]]] = {
    "chat": (CHAT, parse_chat_request),
    "messages": (MESSAGES, parse_messages_request),
    "responses": (RESPONSES, parse_responses_request),
    "completions": (COMPLETIONS, parse_completions_request),
    "embeddings": (EMBEDDINGS, parse_embeddings_request),
}
WRONG: tuple[object, ...] = (
    5, -1, 0, True, "x", "", [], [5], {}, {"a": 1}, [[]], [{}], 2**40, 1.5, [None], {"type": 5},
    [{"type": 5}], [{"type": "x"}],
)  # fmt: skip
Path = tuple[str | int, ...]


def paths(value: object, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else items:
        yield from paths(inner, (*path, key))


def changed(body: dict[str, Any], path: Path, value: object) -> dict[str, Any]:
    made = copy.deepcopy(body)
    place: Any = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return made


def spelled(path: Path) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


@pytest.mark.slow
@pytest.mark.parametrize("surface", SURFACES)
def test_a_wrong_field_is_named_as_the_caller_wrote_it(surface: str) -> None:
    body, parse = SURFACES[surface]
    parse(body)
    refused = [
        (spelled(path), error)
        for path in paths(body)
        for value in WRONG
        if (error := refusal(parse, changed(body, path, value))) is not None
    ]
    assert len(refused) >= 10
    for where, error in refused:
        param = error.param or "(none)"
        assert where.startswith(param) or param.startswith(where), (where, param)
        assert error.message.startswith(param), error.message


def refusal(
    parse: Callable[[Mapping[str, Any]], object], body: dict[str, Any]
) -> InvalidRequestError | None:
    """None where it can be read. Whatever else is raised is a fault."""
    try:
        parse(body)
    except InvalidRequestError as error:
        return error
    return None


PROFILES = """
routing:
  budget_mode: hard
  budget_usd: 0.0000002
  profiles:
    poor: {budget_usd: 0.0000001}
    same: {fallbacks: 1}
"""


@pytest.fixture(scope="module")
def asked() -> Iterator[httpx.Client]:
    config = config_for("http://127.0.0.1:9/v1", PROFILES)
    with (
        LiveGateway(config, {"MAIN_KEY": "k"}) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def error_of(
    asked: httpx.Client, more: Mapping[str, Any], headers: Mapping[str, str]
) -> dict[str, Any]:
    body = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}], **more}
    answer = asked.post("/v1/chat/completions", json=body, headers=dict(headers))
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize(
    ("more", "headers", "param"),
    [
        ({}, {"X-Cost-Budget": "0.0000001"}, "X-Cost-Budget"),
        ({"cost": 1e-7}, {}, "cost"),
        ({"p2l": {"budget_usd": 1e-7}}, {}, "p2l.budget_usd"),
        ({"p2l": {"budget_usd": 1e-7}}, {"X-Cost-Budget": "0.0000001"}, "X-Cost-Budget"),
        ({}, {}, "routing.budget_usd"),
        ({"model": "p2l:same"}, {}, "routing.budget_usd"),
        ({"model": "p2l:poor"}, {}, "routing.profiles.poor.budget_usd"),
        ({"model": "p2l:poor"}, {"X-Cost-Budget": "0.0000001"}, "X-Cost-Budget"),
        ({"model": "dear", "cost": 1e-7, "p2l": {"budget_mode": "hard"}}, {}, "cost"),
        ({"model": "dear", "p2l": {"budget_mode": "hard"}}, {}, "routing.budget_usd"),
    ],
)
def test_a_budget_that_is_too_small_is_named_where_it_was_said(
    asked: httpx.Client, more: dict[str, Any], headers: dict[str, str], param: str
) -> None:
    error = error_of(asked, more, headers)
    assert (error["code"], error["param"]) == ("budget_infeasible", param)


@pytest.mark.parametrize(
    ("more", "headers", "param", "code"),
    [
        ({}, {"X-Route-Models": "nobody"}, "X-Route-Models", "invalid_request"),
        ({"p2l": {"models": ["nobody"]}}, {}, "p2l.models", "invalid_request"),
        ({}, {"X-Route-Exclude": "nobody"}, "X-Route-Exclude", "invalid_request"),
        ({"p2l": {"exclude": ["nobody"]}}, {}, "p2l.exclude", "invalid_request"),
        ({"p2l": {"models": ["cheap"]}, "tools": CHAT["tools"]}, {}, "p2l.models",
         "no_eligible_model"),
        ({"p2l": {"exclude": ["dear", "middle", "cheap"]}}, {}, "p2l.exclude",
         "no_eligible_model"),
        ({}, {"X-Route-Private": "true"}, "X-Route-Private", "no_eligible_model"),
        ({"tools": CHAT["tools"], "p2l": {"private": False, "models": ["cheap"]}}, {},
         "p2l.models", "no_eligible_model"),
        ({"model": "cheap", "tools": CHAT["tools"]}, {}, "model", "no_eligible_model"),
        ({"cost": 1, "web_search_options": {}}, {}, "web_search_options", "invalid_request"),
    ],
)  # fmt: skip
def test_what_leaves_no_model_is_named_where_it_was_said(
    asked: httpx.Client, more: dict[str, Any], headers: dict[str, str], param: str, code: str
) -> None:
    error = error_of(asked, {"cost": 1} | more, headers)
    assert (error["code"], error["param"]) == (code, param), error["message"]
    if code == "invalid_request":
        assert error["message"].startswith(param)


def test_rules_of_the_configuration_are_named_by_their_keys() -> None:
    named = {"constraints": "routing.profiles.x.constraints", "opponents": "routing.opponents"}
    assert from_router(ConstraintsInfeasibleError([]), named).param == named["constraints"]
    error = InvalidRoutingError("opponents must name models.", "opponents")
    assert from_router(error, named).param == named["opponents"]
