"""Learns keys' tastes from their feedback, periodically, in a thread."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from p2l_model.types import FloatArray, Outcome, PreferenceFamily
from server.config.settings import TasteSettings
from server.gateway.tastes import OwnTaste, Tastes
from server.process.background import Job, in_thread
from server.state import State
from server.storage.comparisons import Comparison, comparisons, feedback_version
from server.storage.database import Database

if TYPE_CHECKING:
    from p2l_model.analysis.personal import TastePrior, UserVotes

_LOG: Final = logging.getLogger(__name__)
# The pause while it is off: a new configuration may turn it on.
_IDLE_S: Final = 5.0
_STALE_S: Final = 900.0
# How people differ is learnt from the keys with the most votes; that is sufficient and fast.
_MOST_KEYS: Final = 200
_MOST_PROMPTS: Final = 2000
# Adding and subtracting a taste leaves different last bits.
_SAME_DIGITS: Final = 6
_CODES: Final = {outcome.value: code for code, outcome in enumerate(Outcome)}


@asynccontextmanager
async def tastes_kept_current(state: State) -> AsyncIterator[None]:
    """Within this context, the planner's tastes follow the feedback, where that is configured."""
    job = Job(
        name="tastes",
        work=_Learner(state),
        every_s=lambda: _pause_s(state.settings.routing.tastes),
        stale_after_s=_STALE_S,
        at_once=True,
    )
    async with state.background.doing(job):
        yield


def _pause_s(rules: TasteSettings | None) -> float:
    return _IDLE_S if rules is None else rules.every_s


class _Learner:
    """Learns where the feedback, the rules or the models have changed. If it fails, the previous
    tastes stay in force."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: Any = None

    async def __call__(self) -> None:
        state = self._state
        rules, database = state.settings.routing.tastes, state.store.database
        planner = state.gateway.planner
        models = tuple(planner.scorer.models)
        if rules is None:
            planner.tastes, self._known = Tastes(), None
            return
        version = await in_thread(partial(feedback_version, database))
        if (now := (version, rules, models)) != self._known:
            found = await in_thread(partial(learn, database, models, rules, _aliases(state)))
            state.gateway.planner.tastes, self._known = found, now


def _aliases(state: State) -> dict[str, str]:
    cards = state.gateway.planner.columns.names.values()
    return {card.name: card.leaderboard_name for card in cards}


def learn(
    database: Database,
    models: tuple[str, ...],
    rules: TasteSettings,
    names: Mapping[str, str],
) -> Tastes:
    """Learns the tastes. Blocks. names: leaderboard names by catalogue name. Raises
    StorageError."""
    return tastes_of(comparisons(database), models, rules, names)


def tastes_of(
    heard: Sequence[Comparison],
    models: tuple[str, ...],
    rules: TasteSettings,
    names: Mapping[str, str],
) -> Tastes:
    """The tastes, by which each key's leaderboards differ from those of all keys.

    An opinion that all keys share moves no leaderboard: otherwise one key could change the answers
    of another. Where there is only one key, all of its opinions are its own.
    """
    place = {name: index for index, name in enumerate(models)}
    known_as = {name: names.get(name, name) for name in (*models, *names)}
    column = {name: place[known] for name, known in known_as.items() if known in place}
    usable = [one for one in heard if _is_usable(one, models, column)]
    if not usable:
        return Tastes(models)
    family = usable[-1].leaderboard["family"]
    votes = [_vote(one, column) for one in usable if one.leaderboard["family"] == family]
    by_key = _by_key(votes, PreferenceFamily(family))
    prior = _prior(PreferenceFamily(family), by_key, _together(votes))
    found = {
        name: _own(prior, own)
        for name, own in by_key.items()
        if len(own) >= rules.min_votes and (rules.keys is None or name in rules.keys)
    }
    _LOG.info("tastes: %d keys of %d, tau %.2f", len(found), len(by_key), prior.tau)
    return Tastes(models, found)


class _Vote(NamedTuple):
    """A comparison in the form for learning. a, b: columns of board (M,), the model's own
    coefficients; winner: the index of the Outcome. eta: the model's own as well."""

    key_name: str
    a: int
    b: int
    winner: int
    board: FloatArray
    eta: float
    gamma: float


def _vote(one: Comparison, column: Mapping[str, int]) -> _Vote:
    """Subtracts the taste that had moved the leaderboard at that time."""
    board = np.array(one.leaderboard["coefficients"], dtype=np.float64)
    eta = float(one.leaderboard["eta"] or 0.0)
    if one.taste is not None:
        board, eta = board - np.array(one.taste["shift"]), eta - float(one.taste["eta"])
    return _Vote(
        one.key_name,
        column[one.model_a],
        column[one.model_b],
        _CODES[one.winner],
        board,
        eta,
        one.leaderboard["gamma"] or 0.0,
    )


def _own(prior: TastePrior, votes: UserVotes) -> OwnTaste:
    taste = prior.taste(votes)
    shift, eta = taste.shift - prior.common[:-1], float(taste.eta - prior.common[-1])
    return OwnTaste(shift, eta, taste.n_votes)


def _prior(
    family: PreferenceFamily, by_key: Mapping[str, UserVotes], together: FloatArray
) -> TastePrior:
    from p2l_model.analysis.personal import fit_alone, fit_prior

    users = sorted(by_key.values(), key=len, reverse=True)[:_MOST_KEYS]
    if len(users) == 1:
        return fit_alone(family, users[0], together)
    return fit_prior(family, users, together)


def _is_usable(one: Comparison, models: tuple[str, ...], column: Mapping[str, int]) -> bool:
    """Whether it concerns the current checkpoint, and two models that it knows."""
    board = one.leaderboard
    if tuple(board["models"]) != models or None in board["coefficients"]:
        return False
    a, b = column.get(one.model_a), column.get(one.model_b)
    return a is not None and b is not None and a != b and one.winner in _CODES


def _by_key(votes: Sequence[_Vote], family: PreferenceFamily) -> dict[str, UserVotes]:
    from p2l_model.data.soft_labels import outcome_targets

    # A constant leaderboard does not show which votes concern the same prompt.
    varied = len({float(vote.board[0].round(_SAME_DIGITS)) for vote in votes}) > 1
    targets = outcome_targets(family)
    said: dict[str, list[_Vote]] = defaultdict(list)
    for vote in votes:
        said[vote.key_name].append(vote)
    return {key: _user_votes(own, targets, varied=varied) for key, own in said.items()}


def _user_votes(own: Sequence[_Vote], targets: FloatArray, *, varied: bool) -> UserVotes:
    from p2l_model.analysis.personal import UserVotes

    boards = np.array([vote.board for vote in own])  # (N, M)
    rows = np.arange(len(own))
    a, b = np.array([vote.a for vote in own]), np.array([vote.b for vote in own])
    return UserVotes(
        prompt=rows,
        a=a,
        b=b,
        coef_a=boards[rows, a],
        coef_b=boards[rows, b],
        eta=np.array([vote.eta for vote in own]),
        gamma=np.array([vote.gamma for vote in own]),
        target=targets[[vote.winner for vote in own]],
        weight=_weights(boards) if varied else np.ones(len(own)),
    )


def _weights(boards: FloatArray) -> FloatArray:
    """The weights: votes on one leaderboard, which means one prompt asked again, have weight one
    together."""
    marks = [board.tobytes() for board in boards.round(_SAME_DIGITS)]
    often = Counter(marks)
    return np.array([1.0 / often[mark] for mark in marks])


def _together(votes: Sequence[_Vote]) -> FloatArray:
    from p2l_model.analysis.personal import coefficient_correlation
    from p2l_model.checkpoint.heads import HeadOutputs

    boards = np.array([vote.board for vote in votes[-_MOST_PROMPTS:]])
    none = np.zeros(boards.shape[0])
    return coefficient_correlation(HeadOutputs(boards, none, none))
