"""What the local layer knows, as arrays that can be stored."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from p2l_model.errors import DataError
from p2l_model.local import prior
from p2l_model.local.block import Block
from p2l_model.types import FloatArray, IntArray

_FORM: Final = 2
# Standard deviation of how far a changed model may be from what it was, in log-odds.
_CHANGED: Final = 1.0
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
    """blocks: the prior's components (K in all, in their order), and their Gaussians. centre: the
    mean strength of the models that it began with. models: by name, in the order in which they
    joined. uncertain (M, M): the covariance of their strengths. source_at: the place of the level
    of each judge or source; its slope is the next. width: how many numbers there are in all.
    log_weights (K,): of the components, less the
    greatest. dispersion (2,): a sum and a count. n_answers: learnt so
    far. version: counts what was learnt or forgotten."""

    blocks: Sequence[Block]
    centre: float
    log_weights: FloatArray
    dispersion: FloatArray
    uncertain: FloatArray
    width: int = prior.N_SHARED
    models: dict[str, Member] = field(default_factory=dict)
    source_at: dict[str, int] = field(default_factory=dict)
    n_answers: int = 0
    version: int = 0
    # Of each block, what it goes back to; until a model or a source comes.
    _priors: Sequence[tuple[FloatArray, FloatArray]] | None = field(default=None, repr=False)

    def copy(self) -> State:
        """One that can change by itself."""
        return replace(
            self,
            blocks=[block.copy() for block in self.blocks],
            dispersion=self.dispersion.copy(),
            models={name: replace(one) for name, one in self.models.items()},
            source_at=dict(self.source_at),
        )

    def first(self) -> State:
        """One with the same models and sources before any answer."""
        found = self.copy()
        for block, (mean, covariance) in zip(found.blocks, self._prior(), strict=True):
            block.mean, block.covariance = mean.copy(), covariance.copy()
        for one in found.models.values():
            one.n_answers = 0
        found.log_weights = np.zeros(self.log_weights.size)
        found.dispersion, found.n_answers = _first_dispersion(), 0
        return found

    def join(self, name: str, strength: float, uncertain: FloatArray, n_axes: int) -> None:
        """Adds a model, if it is not there. uncertain (M + 1,): covariance of its strength with
        those of the M models, then its variance. n_axes: of its head."""
        if name in self.models:
            return
        n = len(self.models)
        before = self.uncertain
        self.uncertain = np.zeros((n + 1, n + 1))
        self.uncertain[:n, :n] = before
        self.uncertain[n, :], self.uncertain[:, n] = uncertain, uncertain
        member = self.models[name] = Member(self._grow(1), strength, n_axes=n_axes)
        self._grow(n_axes, are_heads=True)
        head = np.arange(member.head.start, member.head.stop)
        for block in self.blocks:
            block.join(self.uncertain, self.effects, head)
        self.version += 1

    @property
    def effects(self) -> IntArray:
        """The places (M,) of the models' effects."""
        return np.array([one.at for one in self.models.values()], dtype=np.int64)

    def source(self, name: str) -> list[int]:
        """The places of the level and the slope of a judge or source; a new one is added."""
        if name not in self.source_at:
            at = self.source_at[name] = self._grow(2)
            for block in self.blocks:
                block.source(np.array([at, at + 1]))
        at = self.source_at[name]
        return [at, at + 1]

    def count(self, *models: str) -> None:
        """Counts an answer of each model."""
        for name in models:
            self.models[name].n_answers += 1
        self.n_answers += 1
        self.version += 1

    def learn(
        self,
        sites: Sequence[tuple[FloatArray, FloatArray]],
        evidence: FloatArray,
        dispersion: FloatArray,
    ) -> None:
        """Learns what answers told in all, without counting them. sites: the precisions (k, d, d)
        and linear parameters (k, d) for each block; evidence (K,): logarithms of how probable they
        were; dispersion (2,)."""
        pairs = zip(self.blocks, sites, strict=True)
        foreseen = np.concatenate([block.absorb(*site) for block, site in pairs])
        logs = self.log_weights + evidence + foreseen
        self.log_weights = logs - logs.max()
        self.dispersion = self.dispersion + dispersion
        self.version += 1

    def loosen(self, model: str) -> None:
        """Makes the model's own effect uncertain again. Raises KeyError for a model that has not
        joined."""
        at = np.array([self.models[model].at])
        for block in self.blocks:
            own = block.places(at)
            block.covariance[:, own, own] += _CHANGED**2
        self.version += 1

    def fade(self, kept: float, towards: State | None = None) -> None:
        """Goes back towards the prior. kept: the share of its information that an answer keeps.
        towards: a state with the same numbers to go back to instead."""
        if towards is None:
            goals = self._prior()
        else:
            goals = [(block.mean, block.covariance) for block in towards.blocks]
        for block, (mean, covariance) in zip(self.blocks, goals, strict=True):
            block.fade(kept, mean, covariance)
        weights = 0.0 if towards is None else towards.log_weights
        logs = kept * self.log_weights + (1 - kept) * weights
        self.log_weights = logs - logs.max()
        dispersion = _first_dispersion() if towards is None else towards.dispersion
        self.dispersion = kept * self.dispersion + (1 - kept) * dispersion
        self.version += 1

    def _grow(self, n: int, *, are_heads: bool = False) -> int:
        """Adds n numbers, which are 0 for certain, and returns the place of the first."""
        first, self.width, self._priors = self.width, self.width + n, None
        for block in self.blocks:
            if block.has_heads or not are_heads:
                block.grow(np.arange(first, self.width))
        return first

    def _prior(self) -> Sequence[tuple[FloatArray, FloatArray]]:
        if self._priors is None:
            heads = [range(one.head.start, one.head.stop) for one in self.models.values()]
            levels = [[at, at + 1] for at in self.source_at.values()]
            numbers = (
                np.array([at for head in heads for at in head], dtype=np.int64),
                np.array(levels, dtype=np.int64).reshape(-1, 2),
            )
            self._priors = [
                block.prior(self.uncertain, self.effects, *numbers) for block in self.blocks
            ]
        return self._priors

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
            "width": self.width,
        }
        out = io.BytesIO()
        np.savez(
            out,
            head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8),
            log_weights=self.log_weights,
            dispersion=self.dispersion,
            uncertain=self.uncertain,
            **self._of_blocks(),  # type: ignore[arg-type]
        )
        return out.getvalue()

    def _of_blocks(self) -> dict[str, FloatArray | IntArray]:
        found: dict[str, FloatArray | IntArray] = {}
        for k, block in enumerate(self.blocks):
            found |= {f"mean_{k}": block.mean, f"covariance_{k}": block.covariance}
            found[f"numbers_{k}"] = block.numbers
        return found

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
                blocks = _first_blocks(prior.components(n_axes))
                for k, block in enumerate(blocks):
                    block.numbers = arrays[f"numbers_{k}"]
                    block.mean, block.covariance = arrays[f"mean_{k}"], arrays[f"covariance_{k}"]
                return cls(
                    blocks=blocks,
                    centre=head["centre"],
                    log_weights=arrays["log_weights"],
                    dispersion=arrays["dispersion"],
                    uncertain=arrays["uncertain"],
                    width=head["width"],
                    models=models,
                    source_at=head["sources"],
                    n_answers=head["n_answers"],
                    version=head["version"],
                )
        except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile) as error:
            raise DataError(f"the stored local layer cannot be read: {error!r}") from error


def first_state(centre: float, parts: Sequence[prior.Component]) -> State:
    """The state before any model and any answer. parts: of the prior; those without heads come
    first."""
    return State(
        blocks=_first_blocks(parts),
        centre=centre,
        log_weights=np.zeros(len(parts)),
        dispersion=_first_dispersion(),
        uncertain=np.zeros((0, 0), dtype=np.float64),
    )


def _first_blocks(parts: Sequence[prior.Component]) -> list[Block]:
    groups = groupby(parts, key=lambda part: part.head > 0)
    return [Block.first(tuple(own), has_heads=has_heads) for has_heads, own in groups]


def _first_dispersion() -> FloatArray:
    return np.array(_DISPERSION, dtype=np.float64)
