"""Turns errors into responses: all in OpenAI's envelope, including those for unknown paths."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from server.errors import ApiError, InvalidRequestError
from server.http.anthropic_error import error_body
from server.http.body import json_response
from server.http.guard import Guard
from server.process.request_id import new_request_id
from server.wire.surface import Surface

# The status that servers log for a caller who hung up; nobody receives it.
CLIENT_CLOSED = 499
_MESSAGES = "/v1/messages"
_FORWARDED = frozenset(f"/v1/{surface}" for surface in Surface)
# Statuses that may be temporary: official clients heed the header that says so.
_PASSING = frozenset({429, 502, 503, 504})
_MODELS = "/v1/models"


def add_error_handlers(app: FastAPI) -> None:
    """Registers handlers that turn every error of an endpoint into a response."""
    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_middleware(Guard)


def _request_id(request: Request) -> dict[str, str]:
    return {"x-request-id": getattr(request.state, "request_id", None) or new_request_id()}


async def on_api_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return error_answer(request, error)


def error_answer(request: Request, error: ApiError) -> Response:
    """The response for an error, in the envelope of the API that the caller uses."""
    body = error.for_anthropics if _is_messages(request) else error.body["error"]
    headers = error.headers
    if error.status in _PASSING and error.code != "budget_exhausted":
        headers = {"x-should-retry": "true", **headers}
    return _answer(request, body, error.status, headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """An unknown path or method, also in OpenAI's envelope."""
    if not isinstance(error, HTTPException):
        raise error
    path = request.url.path
    message = f"{request.method} {path[:200]}: {error.detail}"
    if error.status_code == HTTPStatus.NOT_FOUND and f"/v1{path}" in _FORWARDED:
        message += ". A client's base_url ends in /v1."
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return _answer(request, body, error.status_code, dict(error.headers or {}))


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """An invalid parameter that the framework checks. Its own message would quote the value."""
    if not isinstance(error, RequestValidationError):
        raise error
    params = [".".join(map(str, item["loc"][1:])) for item in error.errors()]
    named = InvalidRequestError(f"{', '.join(params)}: the value is not valid.", param=params[0])
    return _answer(request, named.body["error"], named.status)


def _is_messages(request: Request) -> bool:
    """Whether the caller speaks Anthropic's API; both lists of models have the same path."""
    path = request.url.path
    return path.startswith(_MESSAGES) or (
        path.startswith(_MODELS) and "anthropic-version" in request.headers
    )


def _answer(
    request: Request,
    error: Mapping[str, Any],
    status: int,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The error in OpenAI's envelope, or in Anthropic's for Anthropic's clients."""
    told = _request_id(request)
    body: dict[str, Any] = {"error": error}
    if _is_messages(request):
        body = error_body(status, error, told["x-request-id"])
    return json_response(body, told | dict(headers or {}), status)
