"""Grades second answers while the gateway is quiet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from server.process.background import Job
from server.state import State

_EVERY_S: Final = 0.5
# One second answer and its grades may take this long.
_STALE_S: Final = 3_600.0


@asynccontextmanager
async def shadows_graded(state: State) -> AsyncIterator[None]:
    """Within this context, requests that were chosen for a second answer are graded."""
    shadow = state.shadow
    if shadow is None:
        yield
        return
    job = Job(name="shadow", work=shadow.work, every_s=_EVERY_S, stale_after_s=_STALE_S)
    async with state.background.doing(job):
        yield
