"""The interface of scorers, which give leaderboards, and a scorer with a constant leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from p2l_model.errors import ScoringError
from p2l_model.types import Conversation, PreferenceFamily, PromptLeaderboard

_BYTES_PER_TOKEN = 4


class ScorerOverloadedError(ScoringError):
    """The queue of prompts is full. retry_after_s: when to try again."""

    def __init__(self, n_waiting: int, retry_after_s: float = 1.0) -> None:
        super().__init__(f"{n_waiting} prompts wait to be scored")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class ScoredPrompt:
    """A prompt's leaderboard, and how many tokens of the prompt the model read."""

    leaderboard: PromptLeaderboard
    n_tokens: int


class Scorer(Protocol):
    """The source of leaderboards."""

    @property
    def models(self) -> tuple[str, ...]:
        """The names on the leaderboards; empty while they are not known yet."""

    @property
    def marginal(self) -> PromptLeaderboard | None:
        """The leaderboard to use when scoring fails; None where there is none."""

    async def start(self) -> None:
        """Called once, on the event loop that scores."""

    async def score(self, conversation: Conversation) -> ScoredPrompt:
        """The leaderboard of a conversation. Raises ScoringError."""

    async def count_tokens(self, text: str) -> int:
        """An estimate of the text's number of tokens, for costs."""

    async def close(self) -> None:
        """Waits for the work under way, then frees resources."""


class FixedScorer:
    """Gives the same leaderboard for every prompt (Bradley-Terry), without any network."""

    def __init__(self, coefficients: Mapping[str, float]) -> None:
        self._board = PromptLeaderboard(
            PreferenceFamily.BT,
            tuple(coefficients),
            np.array(list(coefficients.values()), dtype=np.float64),
        )

    @property
    def models(self) -> tuple[str, ...]:
        return self._board.models

    @property
    def marginal(self) -> PromptLeaderboard:
        return self._board

    async def start(self) -> None:
        return None

    async def score(self, conversation: Conversation) -> ScoredPrompt:  # noqa: ARG002
        return ScoredPrompt(self._board, 0)

    async def count_tokens(self, text: str) -> int:
        return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)

    async def close(self) -> None:
        return None
