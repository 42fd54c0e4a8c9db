"""Measures how long each model has recently taken to answer."""

from __future__ import annotations

from typing import Final

# The weight of the newest answer: in effect, about the last twenty answers count.
_WEIGHT: Final = 0.05


class Latencies:
    """Moving averages in seconds: of the time to a stream's first event, and to a whole answer."""

    def __init__(self) -> None:
        self._means: dict[tuple[str, bool], float] = {}

    def observe(self, model: str, seconds: float, *, streamed: bool) -> None:
        """Records the seconds until a model of the catalogue answered, or began to answer a
        stream."""
        known = self._means.get((model, streamed))
        mean = seconds if known is None else known + _WEIGHT * (seconds - known)
        self._means[model, streamed] = mean

    def of(self, *, streamed: bool) -> dict[str, float]:
        """Seconds by catalogue name, for the models that have been measured so far."""
        return {model: mean for (model, kind), mean in self._means.items() if kind is streamed}
