"""How long each model takes to answer, as it was lately."""

from __future__ import annotations

from typing import Final

# The weight of the newest answer: about the last twenty count.
_WEIGHT: Final = 0.05


class Latencies:
    """Moving averages in seconds, of streams until their first event and of whole answers."""

    def __init__(self) -> None:
        self._means: dict[tuple[str, bool], float] = {}

    def observe(self, model: str, seconds: float, *, streamed: bool) -> None:
        """An answer of a model of the catalogue has come, or has begun to."""
        known = self._means.get((model, streamed))
        mean = seconds if known is None else known + _WEIGHT * (seconds - known)
        self._means[model, streamed] = mean

    def of(self, *, streamed: bool) -> dict[str, float]:
        """Catalogue name -> seconds, of the models measured so far."""
        return {model: mean for (model, kind), mean in self._means.items() if kind is streamed}
