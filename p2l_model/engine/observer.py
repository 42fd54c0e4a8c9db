"""What a scorer tells of its work: for metrics, which this package knows nothing of."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Told of each step, on the event loop. No prompt and no id ever gets here."""

    def tokenised(self, seconds: float, n_tokens: int) -> None:
        """A prompt became n_tokens ids."""

    def waited(self, seconds: float) -> None:
        """A prompt left the queue."""

    def inferred(self, seconds: float, n_prompts: int, n_tokens: int) -> None:
        """The engine scored a batch."""

    def spared(self, how: str) -> None:
        """A prompt was not scored: it was `cached`, `joined` an equal one on its way, or its
        callers `left`."""

    def refused(self) -> None:
        """A prompt found the queue full."""


class Silent:
    """Tells nobody."""

    def tokenised(self, seconds: float, n_tokens: int) -> None:
        """Nothing."""

    def waited(self, seconds: float) -> None:
        """Nothing."""

    def inferred(self, seconds: float, n_prompts: int, n_tokens: int) -> None:
        """Nothing."""

    def spared(self, how: str) -> None:
        """Nothing."""

    def refused(self) -> None:
        """Nothing."""
