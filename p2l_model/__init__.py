"""Predicts: a prompt goes in, a leaderboard for exactly that prompt comes out.

The names below are the library; nothing is imported before one of them is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2l_model.analysis.leaderboard import Leaderboard, LeaderboardRow
    from p2l_model.analysis.predictor import Predictor
    from p2l_model.types import Conversation, Outcome, PreferenceFamily

__all__ = [
    "Conversation",
    "Leaderboard",
    "LeaderboardRow",
    "Outcome",
    "Predictor",
    "PreferenceFamily",
]

_HOMES = {
    "Conversation": "p2l_model.types",
    "Leaderboard": "p2l_model.analysis.leaderboard",
    "LeaderboardRow": "p2l_model.analysis.leaderboard",
    "Outcome": "p2l_model.types",
    "Predictor": "p2l_model.analysis.predictor",
    "PreferenceFamily": "p2l_model.types",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
