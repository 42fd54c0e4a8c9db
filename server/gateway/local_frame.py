"""The catalogue's models on the leaderboard: where they stand usually, and on a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import numpy as np

from p2l_model.local.layer import LocalLayer
from p2l_model.local.terms import PromptTerms
from p2l_model.placement.line import fit_line
from p2l_model.placement.place import Placer, bundled_placer
from p2l_model.types import FloatArray, IntArray, PromptLeaderboard
from router.catalog import ModelCard
from server.gateway.places import BORROWED, strongest, taken_off

# Standard deviation, in log-odds, of a column's coefficient about what the model is worth; a model
# without a column is placed by the facts alone.
_COLUMN_NOISE: Final = 0.3
_NO_COLUMN: Final = 1e4
_CLIP: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """M models of the catalogue on a leaderboard of C columns.

    columns: its names (C,). names: catalogue names of the models; cards: their cards. at (M,): the
    columns that stand for them; shift (M,): by how much they stand beside these. usual (C,): the
    coefficients for no prompt in particular; strongest: the best columns by these. borrowed: which
    of the models have no column of their own: what is said of a prompt there counts for less
    (places.BORROWED). is_scored: whether what the checkpoint says of a prompt is read from its
    expected scores, which say better than its coefficients whether an answer is good; said (C,):
    the usual values of these, in log-odds, and best: the columns from which difficulty is read.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    cards: tuple[ModelCard, ...]
    at: IntArray
    shift: FloatArray
    usual: FloatArray
    strongest: IntArray
    borrowed: IntArray
    is_scored: bool
    said: FloatArray
    best: IntArray

    def borrowed_shifts(self, board: PromptLeaderboard) -> Mapping[str, tuple[float, float]]:
        """What is added to the columns of the models without one of their own, on a prompt, and the
        standard deviation, by catalogue name; empty for another leaderboard."""
        if not self.borrowed.size or board.models != self.columns:
            return {}
        off = taken_off(board.coefficients, self.usual, self.strongest, self.at[self.borrowed])
        by = (self.shift[self.borrowed] + off).tolist()
        cards = [self.cards[place] for place in self.borrowed]
        pairs = zip(cards, by, strict=True)
        return {card.name: (shift, card.coefficient_sd) for card, shift in pairs}

    def said_by(
        self, coefficients: FloatArray, expected_scores: FloatArray | None
    ) -> FloatArray | None:
        """What a leaderboard says of its prompt (C,), in log-odds; None where it says nothing."""
        if not self.is_scored:
            return coefficients
        return None if expected_scores is None else _log_odds(expected_scores)

    def terms(self, said: FloatArray | None) -> tuple[float, FloatArray]:
        """The difficulty of a prompt, and the models' deviations (M,). said (C,): see `said_by`. A
        column of which nothing is said does not deviate."""
        if said is None:
            return 0.0, np.zeros(len(self.names))
        apart = said - self.said
        difficulty = float(apart[self.best].sum()) / max(self.best.size, 1)
        deviation = apart[self.at] - difficulty
        deviation[np.isnan(deviation)] = 0.0
        deviation[self.borrowed] *= BORROWED
        return difficulty, deviation

    def prompt_terms(self, said: FloatArray | None) -> PromptTerms:
        """The same in the form from which a layer learns."""
        difficulty, deviation = self.terms(said)
        return PromptTerms(difficulty, dict(zip(self.names, deviation.tolist(), strict=True)))

    def known_as(self) -> Mapping[str, str]:
        """Catalogue names by every name under which feedback may have been stored."""
        plain = [c for c in self.cards if c.effort is None and c.coefficient_shift == 0.0]
        own = {card.leaderboard_name: card.name for card in plain}
        return {**own, **{name: name for name in self.names}}


def frame_of(
    cards: Sequence[ModelCard], columns: Sequence[str], marginal: PromptLeaderboard | None
) -> Frame | None:
    """The frame of the placed cards; None where no model stands on the leaderboard, or where
    nothing is known for no prompt in particular."""
    if marginal is None or tuple(marginal.models) != tuple(columns):
        return None
    usual = np.asarray(marginal.coefficients, dtype=np.float64)
    column = {name: k for k, name in enumerate(columns) if np.isfinite(usual[k])}
    known = [card for card in cards if card.leaderboard_name in column]
    if not known:
        return None
    scores = marginal.expected_scores
    said = usual if scores is None else _log_odds(scores)
    return Frame(
        columns=tuple(columns),
        names=tuple(card.name for card in known),
        cards=tuple(known),
        at=np.array([column[card.leaderboard_name] for card in known], dtype=np.int64),
        shift=np.array([card.coefficient_shift for card in known]),
        usual=usual,
        strongest=strongest(usual),
        borrowed=np.flatnonzero([card.rests_on != "" for card in known]),
        is_scored=scores is not None,
        said=said,
        best=strongest(said),
    )


def _log_odds(chances: FloatArray) -> FloatArray:
    kept = np.clip(chances, _CLIP, 1.0 - _CLIP)
    odds: FloatArray = np.log(kept) - np.log1p(-kept)
    return odds


class Start(Protocol):
    """Makes a layer without any answer."""

    def __call__(self, n_axes: int = 0) -> LocalLayer: ...


def start_of(frame: Frame, placer: Placer | None = None) -> Start:
    """Makes layers that believe public facts and the leaderboard. placer: None for the one with the
    facts that the product ships. Blocks.

    A model's own column is one observation of its strength, by the line between strengths and
    coefficients; of a model that the facts do not know it is nearly the only one.
    """
    placer = bundled_placer() if placer is None else placer
    known = np.isfinite(frame.usual)
    named = [name for name, is_known in zip(frame.columns, known, strict=True) if is_known]
    line = fit_line(named, frame.usual[known].tolist(), placer)
    names = [_best_known(card, placer) for card in frame.cards]
    mean, covariance = placer.joint(names, [card.effort for card in frame.cards])
    noise = np.where(frame.shift == 0.0, _COLUMN_NOISE / line.slope, _NO_COLUMN)
    seen = (frame.usual[frame.at] + frame.shift - line.intercept) / line.slope
    gain = np.linalg.solve(covariance + np.diag(noise**2), covariance).T
    strengths, uncertain = mean + gain @ (seen - mean), covariance - gain @ covariance
    return partial(
        LocalLayer.start, frame.names, strengths, np.asarray((uncertain + uncertain.T) / 2)
    )


def _best_known(card: ModelCard, placer: Placer) -> str:
    """The name of the model of which the facts know most."""
    names = [card.base, card.upstream_model]
    if card.coefficient_shift == 0.0:
        names.insert(0, card.leaderboard_name)
    return min(names, key=lambda name: placer.place(name, card.effort).sd)
