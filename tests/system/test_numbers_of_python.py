"""Python writes NaN and the infinities, which JSON does not have. An answer with one is no lost
answer: it is passed on with null in its place, and costs what it says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from in_process import InProcess, in_process
from odd_answers import PATHS, Base, bases, config, request

pytestmark = pytest.mark.anyio
GOOD = [base for base in bases() if base.is_paid and base.status == 200]
ODD = (float("nan"), float("inf"), float("-inf"))


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(config(tmp_path), {}) as made:
        yield made


def strictly(content: bytes) -> Any:
    def no(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(content, parse_constant=no)


def events_in(content: bytes) -> list[bytes]:
    lines = [line[6:] for line in content.splitlines() if line.startswith(b"data: ")]
    return [line for line in lines if line != b"[DONE]"]


def content_of(base: Base, odd: float | None) -> bytes:
    """The answer with an odd number in it, and in each of its events; or without any."""
    more: dict[str, Any] = {} if odd is None else {"score": odd}
    if not base.streamed:
        return json.dumps({**base.answer, **more}).encode()
    lines = b"".join(b"data: %b\n\n" % json.dumps(e | more).encode() for e in base.answer)
    return lines + (b"data: [DONE]\n\n" if base.provider == "chat" else b"")


@pytest.mark.parametrize("base", GOOD, ids=lambda base: base.name)
async def test_an_answer_with_one_is_passed_on(gateway: InProcess, base: Base) -> None:
    told = []
    for odd in (None, *ODD):
        kind = "text/event-stream" if base.streamed else "application/json"
        gateway.script.say(content_of(base, odd), kind)
        body = request(base.surface, base.provider, stream=base.streamed)
        answer = await gateway.ask(PATHS[base.surface], body)
        gateway.state.gateway.health.configured_anew()
        for one in events_in(answer.content) if base.streamed else [answer.content]:
            strictly(one)
        (row,) = gateway.settled
        told.append((answer.status, answer.cut, row.outcome, row.cost_source, row.cost_pico))
    assert len(set(told)) == 1
