"""The heads on top of the backbone: their weights, and their outputs for many prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.errors import CheckpointError
from p2l_model.types import FloatArray, PreferenceFamily

# Families whose tie parameter depends on the prompt (docs/theory.md, section 1).
ETA_FAMILIES: Final = frozenset(
    {
        PreferenceFamily.RK,
        PreferenceFamily.RK_REPARAM,
        PreferenceFamily.GRK,
        PreferenceFamily.BA,
    }
)
# The tensor names of the reference code, and ours in the same style: (weight, bias) of each part.
_NAMES: Final = {
    "": "head.head",
    "eta_": "head.eta_head",
    "gamma_": "head.gamma_head",
    "length_": "head.length_head",
    "score_": "head.score_head",
    "trunk_": "head.trunk",
}
_ONBOARDED: Final = "onboarded."


@dataclass(frozen=True, slots=True)
class HeadOutputs:
    """The outputs for P prompts: coefficients (P, M) in natural log-odds, raw eta (P,) and gamma
    (P,), which are 0 where the family has none."""

    coefficients: FloatArray
    eta: FloatArray
    gamma: FloatArray

    def rows(self, prompts: NDArray[np.int64]) -> HeadOutputs:
        """The outputs of the given prompts, in that order; a prompt may occur more than once."""
        return HeadOutputs(self.coefficients[prompts], self.eta[prompts], self.gamma[prompts])


@dataclass(frozen=True, slots=True)
class Heads:
    """The weights of all heads.

    weight (M, H), bias (M,): coefficients. eta_*, gamma_*: weight (H,) and bias of the raw tie
    parameters. length_weight (M, H), length_bias (M,): the mean of log output tokens; score_weight,
    score_bias: likewise the logit of the expected score. trunk_weight (H, F), trunk_bias (H,): with
    a trunk the heads read relu(trunk x) instead of the backbone's features x (F,). factors: for
    rows added after training, (r, H + 1): the covariance of such a row (weight, bias) is factor.T @
    factor.
    """

    weight: FloatArray
    bias: FloatArray
    eta_weight: FloatArray | None = None
    eta_bias: float | None = None
    gamma_weight: FloatArray | None = None
    gamma_bias: float | None = None
    length_weight: FloatArray | None = None
    length_bias: FloatArray | None = None
    score_weight: FloatArray | None = None
    score_bias: FloatArray | None = None
    trunk_weight: FloatArray | None = None
    trunk_bias: FloatArray | None = None
    factors: Mapping[int, FloatArray] = field(default_factory=dict)

    @property
    def n_models(self) -> int:
        """The number of models, M."""
        return int(self.weight.shape[0])

    @property
    def width(self) -> int:
        """The number of the backbone's features that are read, F."""
        return int((self.weight if self.trunk_weight is None else self.trunk_weight).shape[1])

    @property
    def has_eta(self) -> bool:
        """Whether the heads predict a tie parameter."""
        return self.eta_weight is not None

    @property
    def widths(self) -> set[int]:
        """The numbers of features that the parts take; a valid checkpoint has exactly one."""
        rows = (self.weight, self.length_weight, self.score_weight)
        parts = (*rows, self.eta_weight, self.gamma_weight)
        inner = {part.shape[-1] for part in parts if part is not None}
        if self.trunk_weight is None:
            return inner
        return {self.width} if inner == {self.trunk_weight.shape[0]} else inner | {self.width}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], source: str) -> Heads:
        """Heads from tensors with the reference code's names. Raises CheckpointError."""
        found = {name: t.astype(np.float64) for name, t in tensors.items() if name[:5] == "head."}
        parts: dict[str, Any] = {}
        for prefix, name in _NAMES.items():
            if f"{name}.weight" not in found and prefix != "":
                continue
            for kind in ("weight", "bias"):
                if f"{name}.{kind}" not in found:
                    raise CheckpointError(f"{source}: the tensor {name}.{kind} is missing")
                parts[prefix + kind] = _shaped(prefix, kind, found[f"{name}.{kind}"], source)
        for kind in ("weight", "bias"):
            if f"trunk_{kind}" in parts:
                parts[f"trunk_{kind}"] = parts[f"trunk_{kind}"].astype(np.float32)
        heads = cls(**parts, factors=_factors(tensors))
        heads._check(found, source)
        return heads

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The tensors as they are stored, by name."""
        named: dict[str, NDArray[np.float32]] = {}
        for prefix, name in _NAMES.items():
            weight, bias = getattr(self, f"{prefix}weight"), getattr(self, f"{prefix}bias")
            if weight is not None and bias is not None:
                stored = np.atleast_2d(weight).astype(np.float32)
                named[f"{name}.weight"] = np.ascontiguousarray(stored)
                named[f"{name}.bias"] = np.atleast_1d(np.asarray(bias, dtype=np.float32))
        for row, factor in self.factors.items():
            named[f"{_ONBOARDED}{row}.factor"] = np.ascontiguousarray(factor, dtype=np.float32)
        return named

    def hidden(self, features: FloatArray) -> FloatArray:
        """The vectors (P, H) that the linear heads read, from features (P, F)."""
        if self.trunk_weight is None or self.trunk_bias is None:
            return features
        # Computed in the stored precision: loaded heads are float32, which halves the memory
        # traffic.
        x = features.astype(self.trunk_weight.dtype, copy=False)
        hidden = np.maximum(x @ self.trunk_weight.T + self.trunk_bias, 0.0)
        return hidden.astype(np.float64, copy=False)

    def outputs(self, features: FloatArray, temperature: float) -> HeadOutputs:
        """The outputs for features (P, F). Only the coefficients are divided by the temperature."""
        hidden = self.hidden(features)
        coefficients = (hidden @ self.weight.T + self.bias) / temperature
        eta = _line(hidden, self.eta_weight, self.eta_bias)
        return HeadOutputs(coefficients, eta, _line(hidden, self.gamma_weight, self.gamma_bias))

    def log_tokens(self, features: FloatArray) -> FloatArray | None:
        """The mean of log output tokens (P, M) from features (P, F); None without a length head."""
        if self.length_weight is None or self.length_bias is None:
            return None
        mu: FloatArray = self.hidden(features) @ self.length_weight.T + self.length_bias
        return mu

    def expected_scores(self, features: FloatArray) -> FloatArray | None:
        """The expected score of each answer (P, M) from features (P, F); None without a score
        head."""
        if self.score_weight is None or self.score_bias is None:
            return None
        logits = self.hidden(features) @ self.score_weight.T + self.score_bias
        scores: FloatArray = 1.0 / (1.0 + np.exp(-np.clip(logits, -500, 500)))
        return scores

    def _check(self, found: Mapping[str, FloatArray], source: str) -> None:
        for name, tensor in found.items():
            if not np.all(np.isfinite(tensor)):
                raise CheckpointError(f"{source}: {name} has values that are not finite")
        rows = {self.bias.shape}
        for weight, bias in (
            (self.length_weight, self.length_bias),
            (self.score_weight, self.score_bias),
        ):
            if weight is not None and bias is not None:
                rows |= {weight.shape[:1], bias.shape}
        trunk = self.trunk_weight is None or self.trunk_weight.shape[:1] == self.trunk_bias.shape  # type: ignore[union-attr]
        width = self.weight.shape[-1] + 1
        sound = all(
            row < self.n_models and factor.ndim == 2 and factor.shape[1] == width
            for row, factor in self.factors.items()
        )
        if rows != {(self.n_models,)} or self.weight.ndim != 2 or not trunk or not sound:
            raise CheckpointError(f"{source}: the heads' shapes do not agree")


def _factors(tensors: Mapping[str, NDArray[Any]]) -> dict[int, FloatArray]:
    return {
        int(name.removeprefix(_ONBOARDED).split(".")[0]): tensor.astype(np.float64)
        for name, tensor in tensors.items()
        if name.startswith(_ONBOARDED)
    }


def _shaped(prefix: str, kind: str, tensor: FloatArray, source: str) -> FloatArray | float:
    """The weights of eta and gamma are stored as one row, and their bias as one number."""
    if prefix not in ("eta_", "gamma_"):
        return tensor
    if kind == "weight":
        return tensor.reshape(-1)
    if tensor.size != 1:
        raise CheckpointError(f"{source}: {_NAMES[prefix]}.bias must be one number")
    return float(tensor.reshape(-1)[0])


def _line(hidden: FloatArray, weight: FloatArray | None, bias: float | None) -> FloatArray:
    if weight is None or bias is None:
        return np.zeros(hidden.shape[0])
    line: FloatArray = hidden @ weight + bias
    return line
