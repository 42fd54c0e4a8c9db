"""Stores answers that repeated requests may join, while they are in progress and for a while after.
Pure: the time is an argument, and requests are known only by hashes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.errors import InvalidRequestError
from server.http.recording import Recording

HEADER: Final = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for. body: a hash of the caller, the path and the body as it was sent.
    key: a hash of the caller and its Idempotency-Key, None without one. meaning: a hash of the
    caller, the path and the normalised body, where there is a key. is_retry: whether the client
    says that it has sent this before."""

    body: bytes
    key: bytes | None = None
    meaning: bytes = b""
    is_retry: bool = False

    @property
    def has_key(self) -> bool:
        """Whether it has an Idempotency-Key."""
        return self.key is not None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits: how many answers are held, their bytes in total and each, and the seconds for which
    they are held after their end."""

    answers: int = 4_096
    bytes: int = 32_000_000
    bytes_each: int = 4_000_000
    kept_s: float = 120.0


class Answers:
    """The stored answers; the least recently used are dropped first. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float], bounds: Bounds | None = None) -> None:
        self.clock = clock
        self.bounds = Bounds() if bounds is None else bounds
        self._by_key: dict[bytes, Recording] = {}
        # (body, whether there was a key) -> the latest answer.
        self._by_body: dict[tuple[bytes, bool], Recording] = {}
        # The most recently used answer is last.
        self._held: OrderedDict[Recording, Asked] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def size(self) -> int:
        """The bytes that are held."""
        return self._bytes

    def find(self, asked: Asked) -> Recording | None:
        """The answer to be joined; None where there is none. Raises InvalidRequestError where the
        key was used for another request."""
        found = None if asked.key is None else self._live(self._by_key.get(asked.key))
        if found is not None and self._held[found].meaning != asked.meaning:
            raise InvalidRequestError(
                f"{HEADER} was used for a request with another body. Use a new key.",
                param=HEADER,
            )
        if found is None and asked.is_retry:
            found = self._retried(asked)
        if found is not None:
            self._held.move_to_end(found)
        return found

    def begin(self, asked: Asked) -> Recording:
        """Begins an answer that others may join from now on."""
        recording = Recording(self._grew)
        self._held[recording] = asked
        self._bytes += recording.size
        self._by_body[asked.body, asked.has_key] = recording
        if asked.key is not None:
            self._by_key[asked.key] = recording
        self._make_room()
        return recording

    def end(self, recording: Recording, *, is_good: bool) -> None:
        """Records the end of an answer; a failed one can no longer be joined."""
        is_whole = recording.end()
        if not is_good or not is_whole:
            self.forget(recording)
        elif recording in self._held:
            recording.ended_s = self.clock()
            self._held.move_to_end(recording)

    def forget(self, recording: Recording) -> None:
        """Removes an answer, which can no longer be joined; safe to call twice."""
        asked = self._held.pop(recording, None)
        if asked is None:
            return
        self._bytes -= recording.size
        recording.is_open = False
        if self._by_body.get((asked.body, asked.has_key)) is recording:
            del self._by_body[asked.body, asked.has_key]
        if asked.key is not None and self._by_key.get(asked.key) is recording:
            del self._by_key[asked.key]

    def sweep(self) -> None:
        """Removes answers whose time has passed."""
        for recording in list(self._held):
            self._live(recording)

    def _retried(self, asked: Asked) -> Recording | None:
        """The answer of the first attempt, by its body. Two keys mean two requests, whatever else a
        client says."""
        found = self._live(self._by_body.get((asked.body, False)))
        if found is None and not asked.has_key:
            found = self._live(self._by_body.get((asked.body, True)))
        return found

    def _live(self, recording: Recording | None) -> Recording | None:
        if recording is None:
            return None
        ended_s = recording.ended_s
        if ended_s is not None and self.clock() - ended_s >= self.bounds.kept_s:
            self.forget(recording)
            return None
        return recording

    def _grew(self, recording: Recording, n_bytes: int) -> None:
        self._bytes += n_bytes
        if recording.size > self.bounds.bytes_each:
            self.forget(recording)
        else:
            self._make_room()

    def _make_room(self) -> None:
        bounds = self.bounds
        while len(self._held) > bounds.answers or self._bytes > bounds.bytes:
            self.forget(next(iter(self._held)))
