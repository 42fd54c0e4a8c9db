"""The linear heads on top of the backbone, and how their outputs become a leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.errors import CheckpointError, ScoringError
from p2l_model.manifest import Manifest
from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard

# Families whose tie parameter depends on the prompt (theory, section 1).
ETA_FAMILIES: Final = frozenset(
    {PreferenceFamily.RK, PreferenceFamily.RK_REPARAM, PreferenceFamily.GRK}
)
# exp of more than this is no length of an answer but a head gone wild: 10 million tokens.
_MAX_LOG_TOKENS: Final = 16.0


@dataclass(frozen=True, slots=True)
class Heads:
    """weight (M, H), bias (M,): coefficients. eta_weight (H,), eta_bias: the raw tie parameter.
    length_weight (M, H), length_bias (M,): the mean of log output tokens."""

    weight: FloatArray
    bias: FloatArray
    eta_weight: FloatArray | None = None
    eta_bias: float | None = None
    length_weight: FloatArray | None = None
    length_bias: FloatArray | None = None

    @property
    def n_models(self) -> int:
        """M."""
        return int(self.weight.shape[0])

    @property
    def width(self) -> int:
        """H."""
        return int(self.weight.shape[1])

    @property
    def has_eta(self) -> bool:
        """Whether the heads predict a tie parameter."""
        return self.eta_weight is not None

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], source: str) -> Heads:
        """By the reference's tensor names. Raises CheckpointError."""
        found = {name: t.astype(np.float64) for name, t in tensors.items() if name[:5] == "head."}
        eta, length = found.get("head.eta_head.weight"), found.get("head.length_head.weight")
        try:
            heads = cls(
                found["head.head.weight"],
                found["head.head.bias"],
                None if eta is None else eta.reshape(-1),
                None if eta is None else float(found["head.eta_head.bias"][0]),
                length,
                None if length is None else found["head.length_head.bias"],
            )
        except KeyError as error:
            raise CheckpointError(f"{source}: the tensor {error} is missing") from error
        heads._check(found, source)
        return heads

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """As they are stored."""
        named = {"head.head.weight": self.weight, "head.head.bias": self.bias}
        if self.eta_weight is not None and self.eta_bias is not None:
            named["head.eta_head.weight"] = self.eta_weight[None, :]
            named["head.eta_head.bias"] = np.array([self.eta_bias])
        if self.length_weight is not None and self.length_bias is not None:
            named["head.length_head.weight"] = self.length_weight
            named["head.length_head.bias"] = self.length_bias
        return {name: np.ascontiguousarray(t, dtype=np.float32) for name, t in named.items()}

    def leaderboard(self, features: NDArray[np.float32], manifest: Manifest) -> PromptLeaderboard:
        """features: (H,). Raises ScoringError where they are not finite."""
        x = features.astype(np.float64)
        coefficients = (self.weight @ x + self.bias) / manifest.temperature
        if not np.all(np.isfinite(coefficients)):
            raise ScoringError("the model gave coefficients that are not finite")
        eta = None
        if self.eta_weight is not None and self.eta_bias is not None:
            eta = float(self.eta_weight @ x) + self.eta_bias
        return PromptLeaderboard(
            family=manifest.family,
            models=tuple(manifest.models),
            coefficients=coefficients,
            eta=eta,
            expected_output_tokens=self._expected_tokens(x, manifest),
        )

    def _expected_tokens(self, x: FloatArray, manifest: Manifest) -> FloatArray | None:
        """The log-normal's mean, exp(mu + sigma^2 / 2); NaN for models without lengths."""
        if self.length_weight is None or self.length_bias is None or manifest.length_sigma is None:
            return None
        sigma = np.array([np.nan if s is None else s for s in manifest.length_sigma])
        mu = self.length_weight @ x + self.length_bias
        tokens: FloatArray = np.exp(np.minimum(mu + 0.5 * sigma**2, _MAX_LOG_TOKENS))
        return tokens

    def _check(self, found: Mapping[str, FloatArray], source: str) -> None:
        for name, tensor in found.items():
            if not np.all(np.isfinite(tensor)):
                raise CheckpointError(f"{source}: {name} has values that are not finite")
        rows = {self.bias.shape[0]}
        if self.length_weight is not None and self.length_bias is not None:
            rows |= {self.length_weight.shape[0], self.length_bias.shape[0]}
        if rows != {self.n_models} or self.weight.ndim != 2:
            raise CheckpointError(f"{source}: the heads' shapes do not agree")
