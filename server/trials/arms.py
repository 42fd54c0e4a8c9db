"""Assigns sessions to the arms of a trial."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from server.config.settings import RoutingSettings


class Arm(NamedTuple):
    """The arm of a request: which trial, and whether the new models answer."""

    trial: str
    is_new: bool

    def to_json(self) -> dict[str, str]:
        """The form in a receipt."""
        return {"id": self.trial, "arm": "new" if self.is_new else "usual"}


@dataclass(frozen=True, slots=True)
class Trial:
    """profile: its name. id: of the profile and the new models; with others it is another trial.
    models: the names of the new models or columns. share: of the sessions."""

    profile: str
    id: str
    models: frozenset[str]
    share: float


def trials_of(routing: RoutingSettings) -> dict[str, Trial]:
    """The configured trials, by profile."""
    return {
        name: Trial(
            name, trial_id(name, own.trial.models), frozenset(own.trial.models), own.trial.share
        )
        for name, own in routing.profiles.items()
        if own.trial is not None
    }


def trial_id(profile: str, models: Collection[str]) -> str:
    """The name of a trial in receipts."""
    about = "\0".join([profile, *sorted(models)])
    return hashlib.blake2b(about.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class Trials:
    """The trials in force. by_profile: those that are configured. stopped: the ids of those whose
    new models have turned out worse than allowed: they answer no more."""

    by_profile: Mapping[str, Trial]
    stopped: frozenset[str] = frozenset()

    def split(
        self,
        profile: str | None,
        seed: int | None,
        allowed: Collection[str] | None,
        everyone: Collection[str],
        expanded: Callable[[Collection[str]], Collection[str]],
    ) -> tuple[Arm | None, tuple[str, ...] | None]:
        """Returns the arm of a request, and the models that may answer it.

        profile: of the request. seed: of its session; None where it has none: it is then in the
        usual arm. allowed: what its own lists and its key allow, None for all; everyone: the names
        of all models. expanded: replaces the names of models by those of their columns. A request
        whose lists leave only one arm any model is in no arm.
        """
        trial = None if profile is None else self.by_profile.get(profile)
        if trial is None:
            return None, None if allowed is None else tuple(allowed)
        new = set(expanded(trial.models))
        possible = set(everyone if allowed is None else allowed)
        arms = {True: possible & new, False: possible - new}
        if trial.id in self.stopped:
            return None, tuple(sorted(arms[False] or possible))
        if not arms[True] or not arms[False]:
            return None, tuple(sorted(possible))
        is_new = seed is not None and _draw(trial.id, seed) < trial.share
        return Arm(trial.id, is_new), tuple(sorted(arms[is_new]))


def _draw(trial: str, seed: int) -> float:
    """A number in [0, 1) of a session, another one for each trial."""
    digest = hashlib.blake2b(f"{trial}\0{seed}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
