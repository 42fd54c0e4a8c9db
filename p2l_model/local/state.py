"""What the local layer knows, as arrays that can be stored."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from p2l_model.errors import DataError
from p2l_model.local import prior
from p2l_model.types import FloatArray

_FORM: Final = 1
# As if five answers had been as noisy as coins.
_DISPERSION: Final = (5.0, 5.0)


@dataclass(slots=True)
class Member:
    """A model of the layer. at: the place of its effect among the numbers; n_axes: how many numbers
    of its head follow. strength: the mean of its place by public facts. n_answers: learnt of it."""

    at: int
    strength: float
    n_answers: int = 0
    n_axes: int = 0

    @property
    def head(self) -> slice:
        """The places of the head."""
        return slice(self.at + 1, self.at + 1 + self.n_axes)


@dataclass(slots=True)
class State:
    """parts (K,): the prior's components. centre: the mean strength of the models that it began
    with. models: by name, in the order in
    which they joined. uncertain (M, M): the covariance of their strengths. source_at: the place of
    the level of each judge or source; its slope is the next. log_weights (K,), mean (K, d),
    covariance (K, d, d): of the components. dispersion (2,): a sum and a count. n_answers: learnt
    so far. version: counts what was learnt or forgotten."""

    parts: Sequence[prior.Component]
    centre: float
    log_weights: FloatArray
    mean: FloatArray
    covariance: FloatArray
    dispersion: FloatArray
    uncertain: FloatArray
    models: dict[str, Member] = field(default_factory=dict)
    source_at: dict[str, int] = field(default_factory=dict)
    n_answers: int = 0
    version: int = 0

    def join(self, name: str, strength: float, uncertain: FloatArray, n_axes: int) -> None:
        """Adds a model, if it is not there. uncertain (M + 1,): covariance of its strength with
        those of the M models, then its variance. n_axes: of its head."""
        if name in self.models:
            return
        n = len(self.models)
        places = np.array([one.at for one in self.models.values()], dtype=np.int64)
        before = self.uncertain
        self.uncertain = np.zeros((n + 1, n + 1))
        self.uncertain[:n, :n] = before
        self.uncertain[n, :], self.uncertain[:, n] = uncertain, uncertain
        d = self._grow(1 + n_axes)
        mean, grown = self.mean, self.covariance
        member = self.models[name] = Member(d, strength, n_axes=n_axes)
        for k, part in enumerate(self.parts):
            whole = part.effects(self.uncertain)
            # What was learnt of its relatives says something of it: it joins conditional on them.
            pull = np.linalg.solve(whole[:n, :n], whole[:n, n]) if n else np.zeros(0)
            column = grown[k][:d, places] @ pull
            mean[k, d] = mean[k][places] @ pull
            grown[k, :d, d] = grown[k, d, :d] = column
            grown[k, d, d] = whole[n, n] - whole[n, :n] @ pull + pull @ column[places]
            grown[k, member.head, member.head] = part.head**2 * np.eye(n_axes)
        self.version += 1

    def source(self, name: str) -> list[int]:
        """The places of the level and the slope of a judge or source; a new one is added."""
        if name not in self.source_at:
            d = self.source_at[name] = self._grow(2)
            for k, part in enumerate(self.parts):
                self.covariance[k, d:, d:] = np.diag(part.source())
        at = self.source_at[name]
        return [at, at + 1]

    def count(self, *models: str) -> None:
        """Counts an answer of each model."""
        for name in models:
            self.models[name].n_answers += 1
        self.n_answers += 1
        self.version += 1

    def fade(self, kept: float, towards: State | None = None) -> None:
        """Goes back towards the prior. kept: the share of its information that an answer keeps.
        towards: a state with the same numbers to go back to instead."""
        for k, part in enumerate(self.parts):
            if towards is None:
                mean, covariance = self._prior(part)
            else:
                mean, covariance = towards.mean[k], towards.covariance[k]
            now, first = _inverse(self.covariance[k]), _inverse(covariance)
            faded = np.linalg.inv(kept * now + (1 - kept) * first)
            self.mean[k] = faded @ (kept * now @ self.mean[k] + (1 - kept) * first @ mean)
            self.covariance[k] = (faded + faded.T) / 2
        weights = 0.0 if towards is None else towards.log_weights
        self.log_weights = kept * self.log_weights + (1 - kept) * weights
        dispersion = _first_dispersion() if towards is None else towards.dispersion
        self.dispersion = kept * self.dispersion + (1 - kept) * dispersion
        self.version += 1

    def _grow(self, n: int) -> int:
        """Adds n numbers, which are 0 for certain, and returns the place of the first."""
        d = int(self.mean.shape[1])
        self.mean = np.pad(self.mean, ((0, 0), (0, n)))
        self.covariance = np.pad(self.covariance, ((0, 0), (0, n), (0, n)))
        return d

    def _prior(self, part: prior.Component) -> tuple[FloatArray, FloatArray]:
        d, n = self.mean.shape[1], prior.N_SHARED
        mean, covariance = np.zeros(d), np.zeros((d, d))
        mean[:n], covariance[:n, :n] = part.mean, np.diag(part.variance)
        for one in self.models.values():
            covariance[one.head, one.head] = part.head**2 * np.eye(one.n_axes)
        for at in self.source_at.values():
            covariance[at : at + 2, at : at + 2] = np.diag(part.source())
        places = np.array([one.at for one in self.models.values()], dtype=np.int64)
        covariance[np.ix_(places, places)] = part.effects(self.uncertain)
        return mean, covariance

    def to_bytes(self) -> bytes:
        """The state in a form that `from_bytes` reads again, bit for bit."""
        head: dict[str, Any] = {
            "form": _FORM,
            "centre": self.centre,
            "models": [
                [name, m.at, m.strength, m.n_answers, m.n_axes] for name, m in self.models.items()
            ],
            "sources": self.source_at,
            "n_answers": self.n_answers,
            "version": self.version,
        }
        out = io.BytesIO()
        np.savez(
            out,
            head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8),
            log_weights=self.log_weights,
            mean=self.mean,
            covariance=self.covariance,
            dispersion=self.dispersion,
            uncertain=self.uncertain,
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, stored: bytes) -> State:
        """Reads a stored state. Raises DataError where it is none, or of another form."""
        try:
            with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
                head = json.loads(arrays["head"].tobytes())
                if head["form"] != _FORM:
                    raise DataError(
                        f"the local layer is stored in form {head['form']}, not {_FORM}"
                    )
                models = {name: Member(*numbers) for name, *numbers in head["models"]}
                n_axes = max((one.n_axes for one in models.values()), default=0)
                return cls(
                    parts=prior.components(n_axes),
                    centre=head["centre"],
                    log_weights=arrays["log_weights"],
                    mean=arrays["mean"],
                    covariance=arrays["covariance"],
                    dispersion=arrays["dispersion"],
                    uncertain=arrays["uncertain"],
                    models=models,
                    source_at=head["sources"],
                    n_answers=head["n_answers"],
                    version=head["version"],
                )
        except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile) as error:
            raise DataError(f"the stored local layer cannot be read: {error!r}") from error


def first_state(centre: float, parts: Sequence[prior.Component]) -> State:
    """The state before any model and any answer. parts: of the prior."""
    return State(
        parts=parts,
        centre=centre,
        log_weights=np.zeros(len(parts)),
        mean=np.stack([part.mean for part in parts]),
        covariance=np.stack([np.diag(part.variance) for part in parts]),
        dispersion=_first_dispersion(),
        uncertain=np.zeros((0, 0), dtype=np.float64),
    )


def _inverse(covariance: FloatArray) -> FloatArray:
    """The inverse, where numbers that a component turns off have no variance."""
    inverse = np.linalg.inv(covariance + 1e-9 * np.eye(len(covariance)))
    return np.asarray(inverse, dtype=np.float64)


def _first_dispersion() -> FloatArray:
    return np.array(_DISPERSION, dtype=np.float64)
