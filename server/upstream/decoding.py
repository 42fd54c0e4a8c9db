"""Decompresses answers piece by piece, whatever their total size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

import httpx

_KNOWN: Final = frozenset({"gzip", "deflate"})
# gzip's header or zlib's, whichever is present.
_WINDOW_BITS: Final = 47
# A kilobyte can stand for a megabyte: after each piece of this size, other tasks run.
_PIECE_BYTES: Final = 256 * 1024


async def decoded(body: AsyncIterator[bytes], header: str) -> AsyncIterator[bytes]:
    """The decoded body. header: its Content-Encoding.

    Raises httpx.DecodingError where it cannot be decoded, and for encodings that were not
    requested.
    """
    names = [name.strip() for name in header.lower().split(",")]
    encodings = [name for name in names if name not in ("", "identity")]
    if len(encodings) > 1 or not _KNOWN.issuperset(encodings):
        raise httpx.DecodingError("an encoding that was not asked for")
    if not encodings:
        async for chunk in body:
            yield chunk
        return
    decoder = zlib.decompressobj(_WINDOW_BITS)
    async for chunk in body:
        rest = chunk
        while rest:
            try:
                piece = decoder.decompress(rest, _PIECE_BYTES)
            except zlib.error:
                raise httpx.DecodingError("it is not compressed as it says") from None
            rest = decoder.unconsumed_tail
            if piece:
                yield piece
                await asyncio.sleep(0)
    if not decoder.eof:
        raise httpx.DecodingError("it is cut short")
