"""GET /: the dashboard, for admins, and its static files, which hold no secrets; GET /docs: the
API for people."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from server.dashboard.assets import SECURITY_HEADERS, assets
from server.endpoints.common import StateDep, check_dashboard
from server.errors import AuthenticationError, NotFoundError

router = APIRouter(include_in_schema=False)
_PAGE: Final = {**SECURITY_HEADERS, "cache-control": "no-store"}


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request, state: StateDep) -> Response:
    """The dashboard's page. A browser without a key gets a form that asks for one: a key is sent in
    a header only, so that no other site can use it. A client that only checks whether the server is
    up needs no key. Raises AuthenticationError, ForbiddenError."""
    if request.method == "HEAD" and "text/html" not in request.headers.get("accept", ""):
        return Response()
    try:
        check_dashboard(request, state)
    except AuthenticationError as error:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return _html("sign_in.html", 401, error.headers)
    return _html("index.html", 200)


@router.get("/docs")
async def api() -> Response:
    """The API as /openapi.json describes it."""
    return _html("api.html", 200)


@router.api_route("/dashboard/{name}", methods=["GET", "HEAD"])
async def file(name: str, request: Request) -> Response:
    """One static file of the dashboard. Raises NotFoundError."""
    asset = assets().get(name)
    if asset is None or name.endswith(".html"):
        raise NotFoundError(f"The dashboard has no file {name[:80]!r}.", code="file_not_found")
    headers = {**SECURITY_HEADERS, "etag": asset.etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


def _html(name: str, status: int, headers: dict[str, str] | None = None) -> Response:
    asset = assets()[name]
    return Response(asset.content, status, {**_PAGE, **(headers or {})}, asset.media_type)
