"""The function that a reader finds by its path is the one that answers there."""

from __future__ import annotations

from fastapi.routing import APIRoute

from server.endpoints import inference
from server.wire.surface import Surface


def test_what_is_documented_is_what_runs() -> None:
    documented = {
        route.path: route.endpoint
        for route in inference.router.routes
        if isinstance(route, APIRoute)
    }
    assert inference.FORWARDING.items() <= documented.items()
    assert len(inference.FORWARDING) == len(Surface)
