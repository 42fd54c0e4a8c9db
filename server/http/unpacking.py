"""Decompresses bodies piece by piece, so that a small body that unpacks to gigabytes is never held
in memory."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from server.errors import InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError

_PIECE_BYTES: Final = 256 * 1024
_GZIP_BITS: Final = 31
_ZLIB_BITS: Final = 15
_RAW_BITS: Final = -15
# The window that the standard requires every reader to support (RFC 9659): 8 MiB.
_ZSTD_WINDOW_LOG: Final = 23


class _CutShortError(Exception):
    """The body ends before the data that is compressed in it."""


def encodings_of(header: bytes) -> list[str]:
    """The encodings of a body, in the order in which they were applied. Raises
    UnsupportedEncodingError."""
    names = [name.strip() for name in header.decode("latin-1").lower().split(",")]
    encodings = [_SAME.get(name, name) for name in names if name not in ("", "identity")]
    # With several encodings, the data between them would have to be held in memory.
    if len(encodings) > 1 or not _READERS.keys() >= set(encodings):
        raise UnsupportedEncodingError(", ".join(_READERS))
    return encodings


async def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The decompressed body, at most `limit` bytes.

    Raises RequestTooLargeError, or InvalidRequestError where the body does not match its encoding.
    """
    pieces: list[bytes] = []
    n_bytes = 0
    reader = _READERS[encoding](body)
    while True:
        piece = _next(reader, encoding)
        if piece is None:
            return b"".join(pieces)
        n_bytes += len(piece)
        if n_bytes > limit:
            raise RequestTooLargeError(limit, "unpacked")
        if pieces:
            # A large body lets other tasks run in between.
            await asyncio.sleep(0)
        pieces.append(piece)


def _next(reader: Iterator[bytes], encoding: str) -> bytes | None:
    try:
        return next(reader, None)
    except Exception as error:
        # Each library has errors of its own, and none of their messages are for the caller.
        said = "ends too early" if isinstance(error, _CutShortError) else "cannot be unpacked"
        raise InvalidRequestError(
            f"The body {said}: it is not {encoding} as its content-encoding says."
        ) from None


def _gzip(body: bytes) -> Iterator[bytes]:
    rest = body
    while True:
        decoder = zlib.decompressobj(_GZIP_BITS)
        yield from _inflated(decoder, rest)
        rest = decoder.unused_data
        if not rest:
            return


def _deflate(body: bytes) -> Iterator[bytes]:
    """Reads deflate with zlib's header, as the standard requires, or without it, as many send
    it."""
    has_head = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    yield from _inflated(zlib.decompressobj(_ZLIB_BITS if has_head else _RAW_BITS), body)


def _inflated(decoder: Any, body: bytes) -> Iterator[bytes]:
    while not decoder.eof:
        piece = decoder.decompress(body, _PIECE_BYTES)
        body = decoder.unconsumed_tail
        if not piece and not body and not decoder.eof:
            raise _CutShortError
        yield piece


def _brotli(body: bytes) -> Iterator[bytes]:
    # The library is needed only where such a body arrives.
    import brotli

    decoder = brotli.Decompressor()
    while not decoder.is_finished():
        piece = decoder.process(body, output_buffer_limit=_PIECE_BYTES)
        body = b""
        if not piece and not decoder.is_finished():
            raise _CutShortError
        yield piece


def _zstd(body: bytes) -> Iterator[bytes]:
    zstd = _zstd_library()
    options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    while True:
        decoder = zstd.ZstdDecompressor(options=options)
        while not decoder.eof:
            piece = decoder.decompress(body, _PIECE_BYTES)
            body = b""
            if not piece and not decoder.eof:
                raise _CutShortError
            yield piece
        body = decoder.unused_data
        if not body:
            return


def _zstd_library() -> Any:
    """Python's own module from 3.14 on, or its equivalent for older versions."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


_READERS: Final[Mapping[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
_SAME: Final = {"x-gzip": "gzip"}
