"""Learns the local layers from what is stored, periodically, in a thread."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import orjson

from p2l_model.errors import DataError
from p2l_model.local.layer import LocalLayer
from p2l_model.local.state import State as LayerState
from p2l_model.local.terms import PromptAxes, PromptTerms
from p2l_model.types import FloatArray, Outcome
from server.config.settings import LearningSettings
from server.gateway.local_frame import Frame, start_of
from server.gateway.local_layers import ALL, LocalLayers, coordinates
from server.gateway.local_learning import DAY_US, Learnt, Lesson, learn_layers
from server.gateway.receipt import checkpoint_version
from server.process.background import Job, in_thread
from server.state import State
from server.storage.database import Database
from server.storage.graded_answers import GradedAnswer, answers_version, graded_answers
from server.storage.grades import coefficients_in
from server.storage.receipts import DAMAGED
from server.storage.rows import micros
from server.storage.states import put_state, read_state

_LOG: Final = logging.getLogger(__name__)
_STALE_S: Final = 900.0
# Where much is graded, learning takes at most one part in this many of the time.
_REST: Final = 50.0
_READ_AGAIN: Final = 3
_STATE: Final = "local layers"
# Counts the ways in which layers are learnt: a new one makes all versions new.
_FORM: Final = 9
_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


@asynccontextmanager
async def layers_kept_current(state: State) -> AsyncIterator[None]:
    """Within this context, the planner's layers follow what is graded, unless that is turned
    off."""
    learner = _Learner(state)
    job = Job(
        name="local_layer",
        work=learner,
        every_s=lambda: max(state.settings.learning.every_s, _REST * learner.took_s),
        stale_after_s=_STALE_S,
        at_once=True,
    )
    async with state.background.doing(job):
        yield


class _Learner:
    """Learns where the answers, the day, the rules or the models have changed. If it fails, the
    previous layers stay in force."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._has_learnt = False
        # CPU seconds of the last learning; the first one also reads the facts, once for all.
        self.took_s = 0.0

    async def __call__(self) -> None:
        state = self._state
        rules, planner, database = (
            state.settings.learning,
            state.gateway.planner,
            state.store.database,
        )
        frame = planner.frame()
        if not rules.local or frame is None:
            planner.local = LocalLayers()
            return
        scoring, known = state.settings.scorer, planner.local.version

        def work() -> LocalLayers | None:
            checkpoint = checkpoint_version(scoring)
            return current(database, frame, rules, known, time.time(), checkpoint)

        found, took_s = await in_thread(partial(_timed, work))
        if found is not None:
            state.gateway.planner.local = found
            self.took_s = took_s if self._has_learnt else 0.0
            self._has_learnt = self._has_learnt or len(found.by_scope) > 0


def _timed(work: Callable[[], LocalLayers | None]) -> tuple[LocalLayers | None, float]:
    """Its result, and the CPU seconds of this thread that it took: a machine that is busy with
    other work does not make it longer."""
    began = time.thread_time()
    found = work()
    return found, time.thread_time() - began


def current(
    database: Database,
    frame: Frame,
    rules: LearningSettings,
    known: str,
    now: float,
    checkpoint: str | None = None,
) -> LocalLayers | None:
    """The layers of now: those that another gateway has learnt from the same answers, else learnt
    here and stored. None where they are the known ones. checkpoint: see `lessons_of`. Blocks.
    Raises StorageError."""
    answers = answers_version(database)
    today_us = micros(now) // DAY_US * DAY_US
    version = _version(frame, rules, answers, today_us, checkpoint)
    if version == known:
        return None
    if sum(answers) == 0:
        return LocalLayers(version)
    stored = stored_layers(database)
    if stored is not None and stored.version == version:
        return stored
    read, answers = _read(database, frame, checkpoint, answers)
    version = _version(frame, rules, answers, today_us, checkpoint)
    lessons, axes = with_axes(read, frame)
    learnt: dict[str, Learnt] = {}
    if len(lessons) >= rules.min_answers:
        learnt = learn_layers(lessons, rules, partial(start_of(frame), axes.n), today_us)
    changed = {} if ALL not in learnt else learnt[ALL].changed
    layers = {scope: one.layer for scope, one in learnt.items()}
    found = LocalLayers(version, layers, changed, _mean(lessons, frame), axes)
    store_layers(database, found, now)
    _LOG.info("local layer %s: %d answers, %d scopes", version, len(lessons), len(learnt))
    return found


def _read(
    database: Database, frame: Frame, checkpoint: str | None, answers: tuple[int, ...]
) -> tuple[list[Lesson], tuple[int, ...]]:
    """The lessons, and the version of the answers that they are of. answers: the last known. Where
    more have come meanwhile they are read again, or two gateways would give one name to different
    layers; in the end the name is that of fewer answers, and the next run learns the rest."""
    lessons = lessons_of(database, frame, checkpoint)
    for _ in range(_READ_AGAIN):
        now = answers_version(database)
        if now == answers:
            break
        answers, lessons = now, lessons_of(database, frame, checkpoint)
    return lessons, answers


def _mean(lessons: Sequence[Lesson], frame: Frame) -> PromptTerms:
    """What the checkpoint says of the lessons' prompts on the mean."""
    if not lessons:
        return PromptTerms()
    n = len(lessons)
    difficulty = sum(one.terms.difficulty for one in lessons) / n
    deviation = {
        name: sum(one.terms.deviation.get(name, 0.0) for one in lessons) / n for name in frame.names
    }
    return PromptTerms(difficulty, deviation)


def lessons_of(database: Database, frame: Frame, checkpoint: str | None = None) -> list[Lesson]:
    """All answers that concern the models of the frame. checkpoint: the version of the one in
    service, as receipts name it: what another has said of prompts is left out, even where its
    columns have the same names. None: not known. Blocks. Raises StorageError."""
    names = frame.known_as()
    answers = (_of_checkpoint(one, checkpoint) for one in graded_answers(database))
    found = (_lesson(one, frame, names) for one in answers)
    return [one for one in found if one is not None]


def with_axes(lessons: Sequence[Lesson], frame: Frame) -> tuple[Sequence[Lesson], PromptAxes]:
    """The lessons with what the models' heads read of them, and the directions in which their
    prompts differ."""
    boards = {one.said.tobytes(): one.said for one in lessons if one.said is not None}
    known = np.array(list(boards.values())).reshape(-1, frame.said.size)
    axes = PromptAxes.of(known, len(frame.names))
    if axes.n == 0:
        return lessons, axes
    read = (replace(one.terms, axes=coordinates(axes, one.said)) for one in lessons)
    return [replace(one, terms=terms) for one, terms in zip(lessons, read, strict=True)], axes


def _of_checkpoint(one: GradedAnswer, checkpoint: str | None) -> GradedAnswer:
    """The answer, without the leaderboard of a checkpoint that is known to be another one."""
    if None in (one.checkpoint, checkpoint) or one.checkpoint == checkpoint:
        return one
    return replace(one, board=None)


def _lesson(one: GradedAnswer, frame: Frame, names: Mapping[str, str]) -> Lesson | None:
    model = names.get(one.model)
    model_b = None if one.model_b is None else names.get(one.model_b)
    is_vote = one.score is None
    if model is None or (is_vote and model_b in (None, model)):
        return None
    if is_vote and one.winner not in _OUTCOMES:
        return None
    said, eta = _leaderboard(one, frame)
    return Lesson(
        *(one.at_us, one.key_name, one.profile, one.source, model),
        model_b=model_b if is_vote else None,
        score=one.score,
        outcome=_OUTCOMES[one.winner] if is_vote and one.winner is not None else None,
        eta=eta,
        terms=frame.prompt_terms(said),
        said=said,
    )


def _leaderboard(one: GradedAnswer, frame: Frame) -> tuple[FloatArray | None, float]:
    """What the checkpoint said of the prompt, and eta; None for another checkpoint. The version
    before this one stored leaderboards that a key's taste had moved: it is taken off."""
    board = one.board
    if board is None:
        return None, 0.0
    try:
        eta = float(board["eta"] or 0.0)
        if "columns" in board:
            values = coefficients_in(board, frame.columns)
        elif tuple(board["models"]) == frame.columns:
            values = np.array(board["coefficients"], dtype=np.float64)
        else:
            values = None
        if values is None:
            return None, eta
        if one.taste is not None:
            values, eta = values - np.array(one.taste["shift"]), eta - float(one.taste["eta"])
        scores = board.get("expected_scores")
        known = None if scores is None else np.array(scores, dtype=np.float64)
        if known is not None and known.shape != values.shape:
            known = None
        said = frame.said_by(values, known)
        # One damaged receipt must not end, or spoil, what is learnt from all the others.
        if said is not None and not np.isfinite(said[frame.best]).all():
            said = None
        is_damaged = said is not None and said.shape != frame.said.shape
    except DAMAGED:
        return None, 0.0
    return (None if is_damaged else said), eta if math.isfinite(eta) else 0.0


def _version(
    frame: Frame,
    rules: LearningSettings,
    answers: tuple[int, ...],
    today_us: int,
    checkpoint: str | None,
) -> str:
    cards = [(c.name, c.leaderboard_name, c.coefficient_shift) for c in frame.cards]
    limits = rules.half_life_days, rules.min_answers, rules.min_own_answers, rules.own_layers_of
    about = orjson.dumps([_FORM, answers, today_us, limits, cards, frame.columns, checkpoint])
    return hashlib.sha256(about + frame.usual.tobytes() + frame.said.tobytes()).hexdigest()[:16]


def store_layers(database: Database, layers: LocalLayers, now: float) -> None:
    """Stores layers in place of the former ones. now: seconds since 1970. Blocks. Raises
    StorageError."""
    scopes = {
        scope: b64encode(layer.state.to_bytes()).decode()
        for scope, layer in layers.by_scope.items()
    }
    document = {
        "version": layers.version,
        "scopes": scopes,
        "changed": layers.changed,
        "difficulty": layers.usual.difficulty,
        "deviation": layers.usual.deviation,
        "axes": [] if layers.axes is None else layers.axes.directions.tolist(),
        "axes_mean": [] if layers.axes is None else layers.axes.mean.tolist(),
    }
    put_state(database, _STATE, orjson.dumps(document).decode(), now)


def stored_layers(database: Database) -> LocalLayers | None:
    """The layers that were stored last; None where there are none, or none that can be read.
    Blocks. Raises StorageError."""
    text = read_state(database, _STATE)
    if text is None:
        return None
    try:
        document = orjson.loads(text)
        scopes = document["scopes"].items()
        states = {scope: LayerState.from_bytes(b64decode(given)) for scope, given in scopes}
        changed = {str(name): int(at) for name, at in document["changed"].items()}
        layers = {scope: LocalLayer(one) for scope, one in states.items()}
        deviation = {str(name): float(one) for name, one in document["deviation"].items()}
        usual = PromptTerms(float(document["difficulty"]), deviation)
        mean = np.array(document["axes_mean"], dtype=np.float64)
        given = np.array(document["axes"], dtype=np.float64)
        axes = PromptAxes(given.reshape(len(document["axes"]), mean.size), mean)
        return LocalLayers(str(document["version"]), layers, changed, usual, axes)
    except (*DAMAGED, DataError):
        return None
