"""How long to wait for a provider.

A model that thinks is silent for minutes, and so is one whose answer is requested as a whole: a
shorter wait pays for answers that nobody receives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.model_facts import Thinking

_LONG_FIRST_BYTE_S: Final = 600.0
_FIRST_BYTE_S: Final = 60.0
_LONG_IDLE_S: Final = 300.0
_IDLE_S: Final = 60.0
_TOTAL_S: Final = 3600.0
_UNKNOWN: Final = Thinking()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Time limits in seconds. first_byte_s: from sending to the first event of a stream, or to the
    first byte of a whole answer. idle_s: the longest silence after that. None: a default that
    depends on the request. total_s: from sending to the end of the answer, even while data
    arrives."""

    first_byte_s: float | None = None
    idle_s: float | None = None
    total_s: float = _TOTAL_S

    def first_byte_of(self, *, whole: bool, thinks: bool) -> float:
        """The limit for the first byte. whole: whether the answer is not a stream. thinks: see
        `thinks`."""
        if self.first_byte_s is not None:
            return self.first_byte_s
        return _LONG_FIRST_BYTE_S if whole or thinks else _FIRST_BYTE_S

    def idle_of(self, *, thinks: bool) -> float:
        """The limit for a silence. thinks: see `thinks`."""
        if self.idle_s is not None:
            return self.idle_s
        return _LONG_IDLE_S if thinks else _IDLE_S


def thinks(body: Mapping[str, Any], thinking: Thinking | None) -> bool:
    """Whether the model thinks before it answers. body: as it is sent, in any provider's form.
    thinking: the facts about the model's thinking; None: unknown."""
    known = _UNKNOWN if thinking is None else thinking
    if known.use in ("always", "never"):
        return known.use == "always"
    asked = _asked(body)
    return known.use == "by_default" if asked is None else asked


def _asked(body: Mapping[str, Any]) -> bool | None:
    """Whether the request asks for thoughts; None where it does not say."""
    effort = body.get("reasoning_effort")
    reasoning = body.get("reasoning")
    if effort is None and isinstance(reasoning, dict):
        if reasoning.get("enabled") is False:
            return False
        effort = reasoning.get("effort") or reasoning.get("max_tokens") or reasoning.get("enabled")
    if effort is not None:
        return bool(effort != "none")
    kind = body.get("thinking")
    if isinstance(kind, dict):
        return kind.get("type") != "disabled"
    enabled = body.get("enable_thinking")
    return enabled if isinstance(enabled, bool) else None
