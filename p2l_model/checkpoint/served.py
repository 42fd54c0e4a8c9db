"""The heads as the request path computes them: one matrix for all, in float32, made at load.

A leaderboard is then two products of a matrix with a vector. float32 halves the memory that they
read, which is what they cost, and is off by less than 1e-5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.heads import Heads
from p2l_model.checkpoint.manifest import Manifest
from p2l_model.errors import ScoringError
from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard

# exp of more than this, 10 million tokens, is no plausible length of an answer.
_MAX_LOG_TOKENS: Final = 16.0
_MAX_LOGIT: Final = 500.0
_PARTS: Final = ("", "eta_", "gamma_", "length_", "score_")

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ServedHeads:
    """rows (R, H), bias (R,): the rows of all heads below each other; where: those of each part.

    The coefficients' rows are divided by the temperature. length_shift (M,): sigma^2 / 2, NaN for
    models without lengths. scored (M,): whose scores are known. They are None without such a head.
    """

    family: PreferenceFamily
    models: tuple[str, ...]
    trunk: tuple[Rows, Rows] | None
    rows: Rows
    bias: Rows
    where: dict[str, slice]
    length_shift: FloatArray | None
    scored: NDArray[np.bool_] | None
    factors: dict[int, FloatArray]
    temperature: float

    @classmethod
    def of(cls, heads: Heads, manifest: Manifest) -> ServedHeads:
        """The same heads, for serving."""
        rows, bias, where = _stacked(heads, manifest.temperature)
        trunk = None
        if heads.trunk_weight is not None and heads.trunk_bias is not None:
            trunk = (_float32(heads.trunk_weight), _float32(heads.trunk_bias))
        sigma, scored = manifest.length_sigma, manifest.scored
        return cls(
            manifest.family,
            tuple(manifest.models),
            trunk,
            rows,
            bias,
            where,
            None
            if sigma is None
            else np.array([np.nan if s is None else s * s / 2 for s in sigma]),
            None if scored is None else np.array(scored),
            dict(heads.factors),
            manifest.temperature,
        )

    def hidden(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the linear heads read (H,), from features (F,)."""
        x = features.astype(np.float32, copy=False)
        if self.trunk is None:
            return x
        weight, bias = self.trunk
        hidden: NDArray[np.float32] = weight @ x
        hidden += bias
        return np.maximum(hidden, 0.0, out=hidden)

    def leaderboard(self, features: NDArray[np.float32]) -> PromptLeaderboard:
        """The leaderboard of features (F,). Raises ScoringError where they are not finite."""
        if not np.isfinite(features).all():
            raise ScoringError("the backbone gave features that are not finite")
        hidden = self.hidden(features)
        values = (self.rows @ hidden + self.bias).astype(np.float64)
        return PromptLeaderboard(
            family=self.family,
            models=self.models,
            coefficients=values[self.where[""]],
            eta=self._number(values, "eta_"),
            gamma=self._number(values, "gamma_"),
            expected_output_tokens=self._tokens(values),
            expected_scores=self._scores(values),
            variance=self._variance(hidden) if self.factors else None,
        )

    def _number(self, values: FloatArray, part: str) -> float | None:
        return float(values[self.where[part]][0]) if part in self.where else None

    def _tokens(self, values: FloatArray) -> FloatArray | None:
        """The log-normal's mean, exp(mu + sigma^2 / 2)."""
        if "length_" not in self.where or self.length_shift is None:
            return None
        logs = values[self.where["length_"]] + self.length_shift
        tokens: FloatArray = np.exp(np.minimum(logs, _MAX_LOG_TOKENS))
        return tokens

    def _scores(self, values: FloatArray) -> FloatArray | None:
        if "score_" not in self.where or self.scored is None:
            return None
        logits = np.clip(values[self.where["score_"]], -_MAX_LOGIT, _MAX_LOGIT)
        return np.where(self.scored, 1.0 / (1.0 + np.exp(-logits)), np.nan)

    def _variance(self, hidden: NDArray[np.float32]) -> FloatArray:
        """The variance of each coefficient (M,); 0 for models of the training."""
        variance = np.zeros(len(self.models))
        for row, factor in self.factors.items():
            spread = factor[:, :-1] @ hidden + factor[:, -1]  # (r,)
            variance[row] = (spread**2).sum() / self.temperature**2
        return variance


def _length_shift(sigma: list[float | None]) -> FloatArray:
    return np.array([np.nan if one is None else one * one / 2 for one in sigma])


def _stacked(heads: Heads, temperature: float) -> tuple[Rows, Rows, dict[str, slice]]:
    weights, biases, where, start = [], [], {}, 0
    for part in _PARTS:
        weight, bias = getattr(heads, f"{part}weight"), getattr(heads, f"{part}bias")
        if weight is None or bias is None:
            continue
        divisor = temperature if part == "" else 1.0
        weights.append(np.atleast_2d(weight) / divisor)
        biases.append(np.atleast_1d(np.asarray(bias, dtype=np.float64)) / divisor)
        where[part] = slice(start, start + weights[-1].shape[0])
        start = where[part].stop
    return _float32(np.concatenate(weights)), _float32(np.concatenate(biases)), where


def _float32(values: FloatArray) -> Rows:
    return np.ascontiguousarray(values, dtype=np.float32)
