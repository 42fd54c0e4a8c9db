"""Learns keys' tastes from their feedback, now and then, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from p2l_model.types import FloatArray, Outcome, PreferenceFamily
from server.endpoints.common import State
from server.settings import PersonaliseSettings
from server.storage.comparisons import Comparison, comparisons, feedback_version
from server.storage.database import Database
from server.storage.errors import StorageError
from server.tastes import OwnTaste, Tastes

if TYPE_CHECKING:
    from p2l_model.analysis.personal import TastePrior, UserVotes

_LOG: Final = logging.getLogger(__name__)
# While it is off: a new configuration may turn it on.
_IDLE_S: Final = 5.0
# How people differ is learnt from those who said most; that is enough, and keeps it short.
_MOST_KEYS: Final = 200
_MOST_PROMPTS: Final = 2000
# A taste that was added and taken off again leaves the last bits different.
_SAME_DIGITS: Final = 6


@asynccontextmanager
async def tastes_kept_current(state: State) -> AsyncIterator[None]:
    """While the context lasts, the planner's tastes follow the feedback, where that is wanted."""
    task = asyncio.create_task(_keep(state))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep(state: State) -> None:
    known: Any = None
    while True:
        rules = state.settings.routing.personalise
        models = tuple(state.gateway.planner.scorer.models)
        try:
            if rules is None:
                state.gateway.planner.tastes = Tastes()
                known = None
            else:
                version = await asyncio.to_thread(feedback_version, state.store.database)
                if (now := (version, rules, models)) != known:
                    found = await asyncio.to_thread(
                        learn, state.store.database, models, rules, _aliases(state)
                    )
                    state.gateway.planner.tastes, known = found, now
        except StorageError as error:
            # what was learnt so far stays good
            _LOG.warning("tastes: feedback cannot be read: %s", error)
        except Exception as error:
            _LOG.error("tastes: not learnt: %s", type(error).__name__)
        await asyncio.sleep(_IDLE_S if rules is None else rules.every_s)


def _aliases(state: State) -> dict[str, str]:
    cards = state.gateway.planner.catalogue.values()
    return {card.name: card.leaderboard_name for card in cards}


def learn(
    database: Database,
    models: tuple[str, ...],
    rules: PersonaliseSettings,
    names: Mapping[str, str],
) -> Tastes:
    """Blocks. names: leaderboard names by the catalogue's. Raises StorageError."""
    return tastes_of(comparisons(database), models, rules, names)


def tastes_of(
    heard: Sequence[Comparison],
    models: tuple[str, ...],
    rules: PersonaliseSettings,
    names: Mapping[str, str],
) -> Tastes:
    """What moves each key's leaderboards away from those of all keys.

    What all of them say alike against the model moves nobody's: one key could otherwise change the
    answers of another. Where there is one key alone, all that it says is its own.
    """
    usable = [one for one in heard if _is_usable(one, models, names)]
    if not usable:
        return Tastes(models)
    family = PreferenceFamily(usable[-1].leaderboard["family"])
    usable = [one for one in usable if one.leaderboard["family"] == family.value]
    by_key = _by_key(usable, models, names, family)
    prior = _prior(family, by_key, _together(usable))
    found = {
        name: _own(prior, votes)
        for name, votes in by_key.items()
        if len(votes) >= rules.min_votes and (rules.keys is None or name in rules.keys)
    }
    _LOG.info("tastes: %d keys of %d, tau %.2f", len(found), len(by_key), prior.tau)
    return Tastes(models, found)


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


def _is_usable(one: Comparison, models: tuple[str, ...], names: Mapping[str, str]) -> bool:
    """Of the checkpoint that is served now, and of two models that it knows."""
    board = one.leaderboard
    if tuple(board["models"]) != models or None in board["coefficients"]:
        return False
    pair = {names.get(name, name) for name in (one.model_a, one.model_b)}
    return len(pair) == 2 and pair <= set(models) and one.winner in set(Outcome)


def _by_key(
    heard: Sequence[Comparison],
    models: tuple[str, ...],
    names: Mapping[str, str],
    family: PreferenceFamily,
) -> dict[str, UserVotes]:
    from p2l_model.analysis.personal import UserVotes
    from p2l_model.targets import outcome_targets

    # a constant leaderboard says nothing of which votes are on one prompt
    varied = len({float(_predicted(one)[0].round(_SAME_DIGITS)) for one in heard}) > 1
    targets, codes = outcome_targets(family), {o.value: k for k, o in enumerate(Outcome)}
    place = {name: index for index, name in enumerate(models)}
    said: dict[str, list[Comparison]] = defaultdict(list)
    for one in heard:
        said[one.key_name].append(one)
    found = {}
    for key, own in said.items():
        boards = np.array([_predicted(one) for one in own])  # (N, M)
        a, b = (
            np.array([place[names.get(getattr(one, side), getattr(one, side))] for one in own])
            for side in ("model_a", "model_b")
        )
        rows = np.arange(len(own))
        found[key] = UserVotes(
            prompt=rows,
            a=a,
            b=b,
            coef_a=boards[rows, a],
            coef_b=boards[rows, b],
            eta=np.array([_eta(one) for one in own]),
            gamma=np.array([one.leaderboard["gamma"] or 0.0 for one in own]),
            target=targets[[codes[one.winner] for one in own]],
            weight=_weights(boards) if varied else np.ones(len(own)),
        )
    return found


def _weights(boards: FloatArray) -> FloatArray:
    """Votes on one leaderboard, which is one prompt asked again, weigh one together."""
    marks = [board.tobytes() for board in boards.round(_SAME_DIGITS)]
    often = Counter(marks)
    return np.array([1.0 / often[mark] for mark in marks])


def _predicted(one: Comparison) -> FloatArray:
    """(M,): the model's own coefficients, before the taste of that time."""
    board = np.array(one.leaderboard["coefficients"], dtype=np.float64)
    return board if one.taste is None else board - np.array(one.taste["shift"])


def _eta(one: Comparison) -> float:
    eta = float(one.leaderboard["eta"] or 0.0)
    return eta if one.taste is None else eta - float(one.taste["eta"])


def _together(heard: Sequence[Comparison]) -> FloatArray:
    from p2l_model.analysis.personal import coefficient_correlation
    from p2l_model.heads import HeadOutputs

    boards = np.array([_predicted(one) for one in heard[-_MOST_PROMPTS:]])
    none = np.zeros(boards.shape[0])
    return coefficient_correlation(HeadOutputs(boards, none, none))
