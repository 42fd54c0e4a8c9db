"""Learns layers from graded answers: of all, and of profiles and keys that differ from these."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from p2l_model.local.changes import Changes
from p2l_model.local.differences import Differences, correlation, most_probable
from p2l_model.local.layer import LocalLayer
from p2l_model.local.sites import Sites
from p2l_model.local.terms import PromptTerms
from p2l_model.types import FloatArray, Outcome
from server.config.settings import LearningSettings
from server.gateway.local_layers import ALL, key_scope, profile_scope

DAY_US: Final = 86_400_000_000
# The latest answers from which one layer learns; at 0.2 ms each this takes a second.
_MOST: Final = 4_000
# Profiles, and keys, that have a layer of their own: those with the most answers.
_MOST_SCOPES: Final = 20
# Answers of all keys, or profiles, together, by which it is judged how far they differ; and those
# on whose prompts it is read how models differ over prompts.
_MOST_TRIED: Final = 1_000
_MOST_PROMPTS: Final = 1_000
# Within this part of a half-life answers do not fade one after the other, which would cost as much
# as to learn ten: older ones count for less from the start.
_STEP: Final = 0.125
_NOTHING: Final = PromptTerms()


@dataclass(frozen=True, slots=True)
class Lesson:
    """A graded answer of models that the gateway has: a score in [0, 1], or the outcome of a vote
    with model_b. at_us: when. source: the judge; None for a caller's feedback. eta: the raw tie
    parameter of the vote's leaderboard. said (C,): what the checkpoint said of the prompt, in
    log-odds."""

    at_us: int
    key_name: str
    profile: str | None
    source: str | None
    model: str
    model_b: str | None = None
    score: float | None = None
    outcome: Outcome | None = None
    eta: float = 0.0
    terms: PromptTerms = _NOTHING
    said: FloatArray | None = field(default=None, repr=False, compare=False)

    @property
    def day(self) -> int:
        """In days since 1970."""
        return self.at_us // DAY_US

    @property
    def is_whole(self) -> bool:
        """Whether it says what it was about: a score, or a vote on two models."""
        return self.score is not None or None not in (self.model_b, self.outcome)


@dataclass(frozen=True, slots=True)
class Learnt:
    """layer: what was learnt. changed: the models that have changed under their names, and when
    that was noticed the last time (microseconds since 1970). lessons: what it was learnt from, in
    this order."""

    layer: LocalLayer
    changed: Mapping[str, int] = field(default_factory=dict)
    lessons: Sequence[Lesson] = ()


def learn_layers(
    lessons: Sequence[Lesson],
    rules: LearningSettings,
    start: Callable[[], LocalLayer],
    now_us: int,
) -> dict[str, Learnt]:
    """What was learnt, by scope. start: makes a layer without any answer.

    Where several keys give feedback, no key counts for more than 2 / (n + 1) of what n keys say in
    the layer of all. Where one key alone does, its answers decide its own requests, and no
    others'. The grades of judges are the gateway's own, and all count.

    A layer of a key or of a profile begins with what the others say, as far as they are alike
    (`p2l_model.local.differences`), and goes on with its own answers.
    """
    latest = sorted(lessons, key=lambda one: (-one.at_us, one.key_name, one.model))
    by_key, by_profile = _grouped(latest)
    shared = _capped(latest)
    least = rules.min_own_answers
    if len(by_key) == 1:
        least = min(least, 1) if len(shared) >= rules.min_answers else least
        shared = [one for one in shared if one.source is not None]
    layer = start()
    layer.sites = Sites()
    everyone = _learnt(layer, shared[:_MOST], rules, now_us)
    may = rules.own_layers_of
    keys = {key_scope(k): own for k, own in by_key.items() if may is None or k in may}
    found = _apart(_with_most(keys, least), shared, rules, everyone, now_us)
    if len(shared) >= rules.min_answers:
        # What counts must be enough: else one loud key would replace the layer of all by little.
        counted = {profile_scope(name): _capped(own) for name, own in by_profile.items()}
        profiles = {
            scope: own for scope, own in counted.items() if len({one.key_name for one in own}) > 1
        }
        enough = _with_most(profiles, rules.min_own_answers)
        found = {ALL: everyone} | found | _apart(enough, shared, rules, everyone, now_us)
    layer.sites = None
    return found


@dataclass(frozen=True, slots=True)
class _Group:
    """A key or a profile. own: its answers, newest first; others: what the others' answers say.
    is_shared: whether all of its own count in the layer of all."""

    own: Sequence[Lesson]
    others: LocalLayer
    changed: Mapping[str, int]
    is_shared: bool

    def learnt(
        self, differences: FloatArray, most: int, rules: LearningSettings, now_us: int | None
    ) -> Learnt:
        """Its layer, from its latest answers, at most so many. differences (M, M): covariance of
        how it may differ from the others."""
        # What was said of a model that has changed since is no longer so.
        fresh = [one for one in self.own[:most] if not self._is_past(one)]
        return _learnt(self.others.apart(differences), fresh, rules, now_us, is_own=True)

    def _is_past(self, one: Lesson) -> bool:
        named = (one.model, one.model_b)
        return any(one.at_us < at for name, at in self.changed.items() if name in named)


def _apart(
    groups: Mapping[str, Sequence[Lesson]],
    shared: Sequence[Lesson],
    rules: LearningSettings,
    everyone: Learnt,
    now_us: int,
) -> dict[str, Learnt]:
    """The layers of groups by scope. shared: what counts for all, newest first; everyone: what was
    learnt from these. Where groups do not differ, one whose answers all count for all needs no
    layer of its own."""
    if not groups:
        return {}
    known = {scope: _group(own, shared, everyone) for scope, own in groups.items()}
    names = tuple(everyone.layer.state.models)
    together = correlation(_values(shared[:_MOST_PROMPTS], names))

    def evidence(tried: Differences) -> float:
        apart = tried.covariance(together)
        most = _MOST_TRIED // len(known)
        each = (one.learnt(apart, most, rules, None) for one in known.values())
        return sum(one.layer.log_evidence for one in each)

    found = most_probable(evidence)
    apart = found.covariance(together)
    return {
        scope: one.learnt(apart, _MOST // 2, rules, now_us)
        for scope, one in known.items()
        if found.tau > 0 or not one.is_shared
    }


def _group(own: Sequence[Lesson], shared: Sequence[Lesson], everyone: Learnt) -> _Group:
    known = set(map(id, own))
    is_shared = len(known.intersection(map(id, shared))) == len(known)
    left_out = [n for n, one in enumerate(everyone.lessons) if id(one) in known]
    return _Group(own, everyone.layer.without(left_out), everyone.changed, is_shared)


def _values(lessons: Sequence[Lesson], names: Sequence[str]) -> FloatArray:
    """What the checkpoint says of the models (M,) on the prompts of lessons, (P, M)."""
    terms = [one.terms for one in lessons] or [_NOTHING]
    return np.array([[one.difficulty + one.deviation.get(n, 0.0) for n in names] for one in terms])


def learn_one(
    layer: LocalLayer, lesson: Lesson, changes: Changes, weight: float = 1.0
) -> tuple[str, ...]:
    """Learns from one answer, and returns the models of which it shows that they have changed under
    their names; what was known of them then counts for less. weight: for how many it counts."""
    a, b, key, more = lesson.model, lesson.model_b, lesson.key_name, (lesson.source, weight)
    told: list[tuple[str, float, str]] = []
    if lesson.score is not None:
        told = [(a, layer.learn_grade(a, lesson.score, lesson.terms, *more), "")]
    elif b is not None and lesson.outcome is not None:
        by = layer.learn_vote(a, b, lesson.outcome, lesson.eta, lesson.terms, *more)
        # What is better than foreseen for one is as much worse for the other.
        told = [(a, by, b), (b, -by, a)]
    noted = [name for name, by, other in told if changes.note(name, by, key, other)]
    for name in noted:
        layer.loosen(name)
    return tuple(noted)


def _learnt(
    layer: LocalLayer,
    lessons: Sequence[Lesson],
    rules: LearningSettings,
    now_us: int | None,
    *,
    is_own: bool = False,
) -> Learnt:
    """Learns oldest first, and forgets in between, and until now unless that is None. lessons:
    newest first. is_own: they are the group's own; else one key alone must not make a model seem
    changed for others."""
    said = [one for one in reversed(lessons) if one.is_whole]
    keys = {one.key_name for one in said if one.source is None}
    changes = Changes(is_shared=len(keys) > (1 if is_own else 0))
    changed: dict[str, int] = {}
    half_life, before = rules.half_life_days, None
    for last, some in _steps(said, _STEP * half_life):
        if before is not None:
            layer.forget(float(last - before), half_life)
        before = last
        for lesson in some:
            weight = 0.5 ** ((last - lesson.day) / half_life)
            for name in learn_one(layer, lesson, changes, weight):
                changed[name] = lesson.at_us
    today = None if now_us is None else now_us // DAY_US
    if before is not None and today is not None and today > before:
        layer.forget(float(today - before), half_life)
    return Learnt(layer, changed, said)


def _steps(lessons: Sequence[Lesson], days: float) -> list[tuple[int, list[Lesson]]]:
    """Lessons, oldest first, in stretches of less than so many days, or of one; each with its last
    day."""
    found: list[list[Lesson]] = []
    for one in lessons:
        if found and one.day < found[-1][0].day + max(days, 1.0):
            found[-1].append(one)
        else:
            found.append([one])
    return [(some[-1].day, some) for some in found]


def _grouped(
    lessons: Sequence[Lesson],
) -> tuple[Mapping[str, list[Lesson]], Mapping[str, list[Lesson]]]:
    """Callers' feedback by key, and all lessons by profile."""
    by_key: dict[str, list[Lesson]] = defaultdict(list)
    by_profile: dict[str, list[Lesson]] = defaultdict(list)
    for one in lessons:
        if one.source is None:
            by_key[one.key_name].append(one)
        if one.profile is not None:
            by_profile[one.profile].append(one)
    return by_key, by_profile


def _capped(latest: Sequence[Lesson]) -> list[Lesson]:
    """Without what a key said beyond its share. latest: newest first, as is the result."""
    counts = Counter(one.key_name for one in latest if one.source is None)
    most, kept, found = most_of_a_key(list(counts.values())), Counter[str](), []
    for one in latest:
        if one.source is None:
            kept[one.key_name] += 1
            if kept[one.key_name] > most:
                continue
        found.append(one)
    return found


def most_of_a_key(counts: Sequence[int]) -> int:
    """How many answers of one key count at most, so that it has no more than 2 / (n + 1) of all
    that count. counts: answers of each of n keys; no limit for one."""
    n, most = len(counts), max(counts, default=0)
    while most > 1 and most * (n + 1) > 2 * sum(min(count, most) for count in counts):
        most -= 1
    return most


def _with_most(
    groups: Mapping[str, Sequence[Lesson]], least: int
) -> Mapping[str, Sequence[Lesson]]:
    enough = [(name, own) for name, own in groups.items() if len(own) >= least]
    return dict(sorted(enough, key=lambda pair: (-len(pair[1]), pair[0]))[:_MOST_SCOPES])
