"""Errors as answers: OpenAI's envelope for all of them, a path that does not exist included."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from server.body import json_response
from server.errors import ApiError
from server.request_id import new_request_id

# The status that servers log for a caller who hung up; nobody receives it.
_CLIENT_CLOSED = 499


def add_error_handlers(app: FastAPI) -> None:
    """Every error that an endpoint of the app raises becomes an answer."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)


def _request_id(request: Request) -> dict[str, str]:
    return {"x-request-id": getattr(request.state, "request_id", None) or new_request_id()}


async def _on_api_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return json_response(error.body, _request_id(request) | error.headers, error.status)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """A path or method that does not exist, in OpenAI's envelope too."""
    if not isinstance(error, HTTPException):
        raise error
    message = f"{request.method} {request.url.path[:200]}: {error.detail}"
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    headers = _request_id(request) | dict(error.headers or {})
    return json_response({"error": body}, headers, error.status_code)


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED)


async def _on_bug(request: Request, _: Exception) -> Response:
    """Ours to mend; the message says nothing of what was asked."""
    body = {"message": "Internal error.", "type": "server_error", "param": None, "code": None}
    return json_response({"error": body}, _request_id(request), 500)
