"""Learns layers from graded answers: of all, of each profile and of each key that has enough."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from p2l_model.local.changes import Changes
from p2l_model.local.layer import LocalLayer
from p2l_model.local.terms import PromptTerms
from p2l_model.types import Outcome
from server.config.settings import LearningSettings
from server.gateway.local_layers import ALL, key_scope, profile_scope

DAY_US: Final = 86_400_000_000
# The latest answers from which one layer learns; at 0.1 ms each this takes half a second.
_MOST: Final = 4_000
# Profiles, and keys, that have a layer of their own: those with the most answers.
_MOST_SCOPES: Final = 20
_NOTHING: Final = PromptTerms()
_KEY: Final = key_scope("")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A graded answer of models that the gateway has: a score in [0, 1], or the outcome of a vote
    with model_b. at_us: when. source: the judge; None for a caller's feedback. eta: the raw tie
    parameter of the vote's leaderboard."""

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


@dataclass(frozen=True, slots=True)
class Learnt:
    """layer: what was learnt. changed: the models that have changed under their names, and when
    that was noticed the last time (microseconds since 1970)."""

    layer: LocalLayer
    changed: Mapping[str, int] = field(default_factory=dict)


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
    """
    latest = sorted(lessons, key=lambda one: (-one.at_us, one.key_name, one.model))
    by_key, by_profile = _grouped(latest)
    shared = _capped(latest)
    found: dict[str, list[Lesson]] = {}
    if len(by_key) == 1:
        if len(shared) >= rules.min_answers:
            found[key_scope(next(iter(by_key)))] = shared[:_MOST]
        shared = [one for one in shared if one.source is not None]
    if len(shared) >= rules.min_answers:
        found[ALL] = shared[:_MOST]
    for name, own in _with_most(by_key, rules.min_own_answers):
        found.setdefault(key_scope(name), _with_others(own, shared))
    # What counts must be enough: else one loud key would replace the layer of all by hardly any.
    counted = {name: _capped(own) for name, own in by_profile.items()}
    for name, own in _with_most(counted, rules.min_own_answers):
        if ALL in found and len({one.key_name for one in own}) > 1:
            found[profile_scope(name)] = _with_others(own, shared)
    return {scope: _learnt(scope, own, rules, start(), now_us) for scope, own in found.items()}


def learn_one(layer: LocalLayer, lesson: Lesson, changes: Changes | None) -> bool:
    """Learns from one answer, and returns whether it shows that the model has changed under its
    name; what was known of it then counts for less. changes: None where it is not looked for."""
    if lesson.score is not None:
        surprise = layer.learn_grade(lesson.model, lesson.score, lesson.terms, lesson.source)
        if changes is not None and changes.note(lesson.model, surprise, lesson.key_name):
            layer.loosen(lesson.model)
            return True
    elif lesson.model_b is not None and lesson.outcome is not None:
        pair = lesson.model, lesson.model_b
        layer.learn_vote(*pair, lesson.outcome, lesson.eta, lesson.terms, lesson.source)
    return False


def _learnt(
    scope: str,
    lessons: Sequence[Lesson],
    rules: LearningSettings,
    layer: LocalLayer,
    now_us: int,
) -> Learnt:
    """Learns oldest first, and forgets in between. In a key's own layer only its own answers show
    that a model has changed."""
    day: int | None = None
    keys = {one.key_name for one in lessons if one.source is None}
    changes = Changes(is_shared=len(keys) > 1 and not scope.startswith(_KEY))
    changed: dict[str, int] = {}
    for lesson in reversed(lessons):
        today = lesson.at_us // DAY_US
        if day is not None and today > day:
            layer.forget(float(today - day), rules.half_life_days)
        day = today
        is_heard = not scope.startswith(_KEY) or scope == key_scope(lesson.key_name)
        if learn_one(layer, lesson, changes if is_heard else None):
            changed[lesson.model] = lesson.at_us
    today = now_us // DAY_US
    if day is not None and today > day:
        layer.forget(float(today - day), rules.half_life_days)
    return Learnt(layer, changed)


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
    groups: Mapping[str, list[Lesson]], least: int
) -> Sequence[tuple[str, list[Lesson]]]:
    enough = [(name, own) for name, own in groups.items() if len(own) >= least]
    return sorted(enough, key=lambda pair: (-len(pair[1]), pair[0]))[:_MOST_SCOPES]


def _with_others(own: Sequence[Lesson], shared: Sequence[Lesson]) -> list[Lesson]:
    """Its own latest answers, and at most as many of the others', newest first."""
    mine = list(own[: _MOST // 2])
    known = set(map(id, own))
    others = [one for one in shared if id(one) not in known][: len(mine)]
    return sorted([*mine, *others], key=lambda one: (-one.at_us, one.key_name, one.model))
