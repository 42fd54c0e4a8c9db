"""The interface through which a scorer reports its work, for example to metrics."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called at each step, on the event loop. No prompt and no token id is passed."""

    def tokenised(self, seconds: float, n_tokens: int) -> None:
        """A prompt was tokenised into n_tokens ids."""

    def waited(self, seconds: float) -> None:
        """A prompt left the queue."""

    def inferred(self, seconds: float, n_prompts: int, n_tokens: int) -> None:
        """The engine scored a batch."""

    def spared(self, how: str) -> None:
        """A prompt was not scored: it was `cached`, or `joined` an equal one on its way, or its
        callers `left`."""

    def refused(self) -> None:
        """A prompt found the queue full."""


class Silent:
    """An observer that ignores everything."""

    def tokenised(self, seconds: float, n_tokens: int) -> None:
        """Ignored."""

    def waited(self, seconds: float) -> None:
        """Ignored."""

    def inferred(self, seconds: float, n_prompts: int, n_tokens: int) -> None:
        """Ignored."""

    def spared(self, how: str) -> None:
        """Ignored."""

    def refused(self) -> None:
        """Ignored."""
