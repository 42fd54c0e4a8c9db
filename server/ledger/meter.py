"""A streamed answer with its entry: settled when the stream ends, breaks or is given up."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from server.ledger.attempt import Outcome
from server.ledger.entry import Entry
from server.sse import SseEvent
from server.upstream.base import UpstreamStream
from server.upstream.errors import UpstreamError


async def metered(stream: UpstreamStream, entry: Entry) -> UpstreamStream:
    """The same stream. Its end is settled before its reader sees it."""
    return await UpstreamStream.start(_events(stream, entry))


async def _events(stream: UpstreamStream, entry: Entry) -> AsyncGenerator[SseEvent, None]:
    try:
        async for event in stream:
            if event.parsed is not None:
                entry.see(event.parsed)
            yield event
        entry.settle(Outcome.ANSWERED)
    except UpstreamError as error:
        entry.fail(error)
        raise
    finally:
        entry.settle(Outcome.CANCELLED)
        await stream.aclose()
