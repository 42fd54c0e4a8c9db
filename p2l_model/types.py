"""The types that all three packages share. This module imports nothing heavier than numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from p2l_model.words import said

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class PreferenceFamily(StrEnum):
    """How coefficients become the probabilities of a vote's outcomes (paper, section 2)."""

    BT = "bt"
    BT_TIE = "bt-tie"
    RK = "rk"
    RK_REPARAM = "rk-reparam"
    GRK = "grk"
    BA = "ba"


class Outcome(StrEnum):
    """The outcome of a vote."""

    MODEL_A = "model_a"
    MODEL_B = "model_b"
    TIE = "tie"
    TIE_BOTHBAD = "tie_bothbad"


@dataclass(frozen=True, slots=True)
class Conversation:
    """The user's turns, oldest first. Its repr never shows them, which keeps prompts out of
    logs."""

    turns: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)  # equal only to itself, as arrays have no ==
class PromptLeaderboard:
    """The leaderboard of one prompt for M models. Its arrays must not be changed.

    models: M names. coefficients (M,): natural log-odds. eta, gamma: the raw tie parameters of the
    prompt, None where the family has none. expected_output_tokens (M,): NaN for a model whose
    answer lengths the checkpoint never saw; None where it predicts no lengths. expected_scores
    (M,): in [0, 1], NaN for a model without graded answers, None without a score head. variance
    (M,): of the coefficients; 0 for models of the training, None where no model was added later.
    """

    family: PreferenceFamily
    models: tuple[str, ...]
    coefficients: FloatArray
    eta: float | None = None
    gamma: float | None = None
    expected_output_tokens: FloatArray | None = None
    expected_scores: FloatArray | None = None
    variance: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Vote:
    """One comparison of two models on one prompt.

    p_model_a: the probability that A wins, where the judge gave one (a soft label).
    """

    conversation: Conversation
    model_a: str
    model_b: str
    winner: Outcome
    p_model_a: float | None = None
    weight: float = 1.0
    source: str = ""
    category: str = ""
    output_tokens_a: float | None = None
    output_tokens_b: float | None = None


def user_turns(messages: Sequence[object]) -> tuple[str, ...]:
    """The user's text in OpenAI-style messages, turn by turn, without the text that clients add and
    without parts that are not text."""
    return said(
        [
            _texts(message.get("content"))
            for message in messages
            if isinstance(message, dict) and message.get("role") == "user"
        ]
    )


def _texts(content: object) -> Sequence[str]:
    if isinstance(content, str):
        return (content,)
    if not isinstance(content, list):
        return ("",)
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return [text for text in texts if isinstance(text, str)]
