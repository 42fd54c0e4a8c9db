"""The model half: predicts, from a prompt, a leaderboard for exactly that prompt.

The names in `__all__` are the public API; each is imported when it is first used. Importing the
package also switches off the telemetry of the libraries below it (`telemetry`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from p2l_model.telemetry import refuse_telemetry

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

refuse_telemetry()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
