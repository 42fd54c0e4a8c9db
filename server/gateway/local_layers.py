"""What this gateway's own answers say of its models: the layers in force, and what they change for
a request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from p2l_model.local.layer import LocalLayer
from p2l_model.local.prepared import Prepared
from p2l_model.local.terms import PromptAxes, PromptTerms
from p2l_model.types import FloatArray, PromptLeaderboard
from server.gateway.local_frame import Frame

ALL: Final = "all"
# Leaderboards that come again: those of conversations under way, or a fixed one.
_KEPT: Final = 64

Shifts = Mapping[str, tuple[float, float]]


def key_scope(name: str) -> str:
    """The scope of one key's answers."""
    return f"key:{name}"


def profile_scope(name: str) -> str:
    """The scope of the answers under one profile."""
    return f"profile:{name}"


@dataclass(frozen=True, slots=True)
class Used:
    """What a request was decided by: the version of the layers, the scope, and how many answers of
    it were learnt."""

    version: str
    scope: str
    n_answers: int

    def to_json(self) -> dict[str, Any]:
        """The form in a receipt."""
        return {"version": self.version, "scope": self.scope, "n_answers": self.n_answers}


@dataclass(slots=True)
class LocalLayers:
    """The layers of one version, by scope. A key's own layer counts before its profile's, and that
    before the one of all answers. changed: models of the layer of all that have changed under their
    names, and when that was noticed (microseconds since 1970). usual: what the checkpoint says of
    this traffic's prompts on the mean; axes: in which of its directions they differ.
    """

    version: str = ""
    by_scope: Mapping[str, LocalLayer] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    usual: PromptTerms = field(default_factory=PromptTerms)
    axes: PromptAxes | None = None
    _frame: Frame | None = None
    _prepared: dict[tuple[str, bool], Prepared] = field(default_factory=dict)
    _kept: OrderedDict[tuple[int, str, bool], tuple[PromptLeaderboard, Shifts]] = field(
        default_factory=OrderedDict
    )

    def scope(self, key_name: str, profile: str | None) -> str | None:
        """The scope that a request is decided by; None for no layer."""
        wanted = [key_scope(key_name), ALL]
        if profile is not None:
            wanted.insert(1, profile_scope(profile))
        return next((scope for scope in wanted if scope in self.by_scope), None)

    def used(self, scope: str) -> Used:
        """What a request of this scope is decided by."""
        return Used(self.version, scope, self.by_scope[scope].state.n_answers)

    def shifts(
        self, scope: str, frame: Frame, board: PromptLeaderboard, *, is_absolute: bool
    ) -> Shifts | None:
        """What moves the coefficients of the leaderboard's columns to the layer's values, and the
        values' standard deviations, by catalogue name. None where a model is new to the layer.

        A win rate is against opponents of whom no answers are known here: there the mean of the
        models stays where the leaderboard has it. is_absolute: the level counts too, as P(good)
        needs it.
        """
        if board.models != frame.columns:
            return None
        key = id(board), scope, is_absolute
        known = self._kept.get(key)
        if known is not None and known[0] is board and self._frame is frame:
            return known[1]
        prepared = self.ready(scope, frame, is_relative=not is_absolute)
        if prepared is None:
            return None
        found = _shifts(prepared, frame, board, self.axes, is_absolute=is_absolute)
        self._kept[key] = board, found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def ready(self, scope: str, frame: Frame, *, is_relative: bool) -> Prepared | None:
        """The layer of a scope for the frame's models; None where one of them is new to it."""
        if self._frame is not frame:
            self._frame = frame
            self._prepared.clear()
            self._kept.clear()
        layer, key = self.by_scope[scope], (scope, is_relative)
        if not layer.state.models.keys() >= set(frame.names):
            return None
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = Prepared(layer, frame.names, is_relative=is_relative)
        return found


def usual_values(layers: LocalLayers, frame: Frame) -> Mapping[str, tuple[float, float]]:
    """The coefficient and its standard deviation for a usual prompt, by catalogue name: of all
    answers, or of the only key that has given any. Empty where no layer is in force."""
    scope = ALL if ALL in layers.by_scope else next(iter(layers.by_scope), None)
    if scope is None or (scope != ALL and len(layers.by_scope) > 1):
        return {}
    prepared = layers.ready(scope, frame, is_relative=True)
    if prepared is None:
        return {}
    deviation = np.array([layers.usual.deviation.get(name, 0.0) for name in frame.names])
    mean, sd = prepared.at(layers.usual.difficulty, deviation)
    mean += float(np.mean(frame.usual[frame.at] + frame.shift))
    pairs = zip(mean.tolist(), sd.tolist(), strict=True)
    return dict(zip(frame.names, pairs, strict=True))


def coordinates(axes: PromptAxes | None, said: FloatArray | None) -> FloatArray:
    """What the models' heads read of a prompt (A,); the mean of prompts where nothing is said."""
    if axes is None or said is None or said.size != len(axes.directions):
        return np.zeros(0)
    return axes.at(said)


def _shifts(
    prepared: Prepared,
    frame: Frame,
    board: PromptLeaderboard,
    axes: PromptAxes | None,
    *,
    is_absolute: bool,
) -> Shifts:
    said = frame.said_by(board.coefficients, board.expected_scores)
    mean, sd = prepared.at(*frame.terms(said), coordinates(axes, said))
    here = board.coefficients[frame.at]
    shift = mean - here
    if is_absolute:
        shift += 0.0 if board.gamma is None else board.gamma
    else:
        shift += np.add.reduce(here + frame.shift) / here.size
    pairs = zip(shift.tolist(), sd.tolist(), strict=True)
    return dict(zip(frame.names, pairs, strict=True))
