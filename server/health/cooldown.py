"""Models whose provider asked for a pause (Retry-After)."""

from __future__ import annotations

from collections.abc import Callable

# The pause where a provider answers 429 without stating one, and the longest pause that is heeded.
_DEFAULT_S = 1.0
_MAX_S = 600.0


class Cooldowns:
    """The pauses by model. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def start(self, model: str, retry_after_s: float | None) -> None:
        """Begins a pause for the model."""
        wait_s = _DEFAULT_S if retry_after_s is None else min(retry_after_s, _MAX_S)
        self._until[model] = self._clock() + wait_s

    def active(self) -> dict[str, float]:
        """The models with a pause, and the seconds that remain."""
        now = self._clock()
        self._until = {model: until for model, until in self._until.items() if until > now}
        return {model: until - now for model, until in self._until.items()}
