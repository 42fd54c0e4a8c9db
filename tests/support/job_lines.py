"""Recorded jobs, made up: lines of `server.offline.jobs.line`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from p2l_model.types import PreferenceFamily
from server.offline.jobs.line import JobRequest, RecordedBoard

BOARD = RecordedBoard(
    family=PreferenceFamily.BT,
    coefficients={"dear-lb": 2.0, "cheap-lb": 0.0, "other": 0.5},
)


def line(**changes: Any) -> JobRequest:
    given: dict[str, Any] = {
        "session": "ab" * 16,
        "key": "cd" * 16,
        "began_s": 0.0,
        "at_s": 0.0,
        "model": "dear",
        "input_tokens": 2_000,
        "output_tokens": 100,
        "tool_loop": False,
        "new_words": True,
        "scored": True,
        "cost_usd": Decimal("0.01"),
        "needs": ("tools",),
    }
    return JobRequest.model_validate(given | changes)


def job(number: int, n_requests: int = 10, growth: int = 1_000, every_s: float = 5.0,
        first_tokens: int = 2_000) -> Iterator[JobRequest]:  # fmt: skip
    """A question and a tool loop, whose prompt grows with each result."""
    for k in range(n_requests):
        yield line(
            session=f"{number:032x}",
            began_s=1_000.0 * number,
            at_s=every_s * k,
            input_tokens=first_tokens + growth * k,
            tool_loop=k > 0,
            new_words=k == 0,
            scored=k == 0,
            leaderboard=BOARD if k == 0 else None,
        )
