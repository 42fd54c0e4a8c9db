"""What the measurements say: who stands where, what a quality costs, and what is not settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from p2l_model.errors import DataError
from p2l_model.types import FloatArray
from server.offline.report.measured import Measured
from server.offline.report.reach import Mix, costs_of, reach
from server.offline.simulate.curves import SAME, Interval, envelope, interval

# The quality that is compared, as a share of the baseline's; then those of the table of offers.
LEVEL: Final = 0.99
LEVELS: Final = (1.0, 0.99, 0.97, 0.95, 0.9, 0.8)
PER: Final = 1000.0
_NORMAL: Final = 1.96
# One percent is saved by sending one percent of all requests nowhere: that is no saving. Below the
# second share nothing is saved; there may be something where the interval reaches the third.
_TRIVIAL: Final = 1.0 - LEVEL
_WORTH_SAYING: Final = 0.02
_MAYBE: Final = 0.05
# A difference that takes more than this many times the prompts to settle is called equal.
_PATIENCE: Final = 20.0
_MOST_RIVALS: Final = 5
_MOST_KINDS: Final = 12


class Verdict(StrEnum):
    """Whether routing saves money, on what is known."""

    SAVES = "saves"
    NOTHING = "nothing to save"
    UNSETTLED = "not settled"


class Standing(NamedTuple):
    """A model. score: its mean, from 0 to 1; usd: of 1,000 requests; router_usd: what the router
    pays for LEVEL of its score; saved: the share of usd that this saves."""

    model: str
    rank: int
    score: Interval
    usd: Interval
    latency_s: float | None
    answers: int
    router_usd: float
    saved: Interval


class Offer(NamedTuple):
    """A level of the baseline's score, and the router's price for it: USD of 1,000 requests.
    usd_per_win: the setting that reaches it; None where the router cannot, or needs none."""

    level: float
    score: float
    usd: Interval
    saved: Interval
    usd_per_win: float | None


class Kind(NamedTuple):
    """A kind of prompt, and the share of its requests that each model gets, the largest first."""

    name: str
    n_prompts: int
    shares: tuple[tuple[str, float], ...]


class Rival(NamedTuple):
    """A model that may be as good as the best. behind: points of 1 that it scores less; prompts,
    usd: what would settle it, on top; None where the two are equal for all that matters."""

    model: str
    behind: Interval
    prompts: int | None
    usd: float | None


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings.

    baseline: the model that is compared with; asked_for: whether the user chose it. pays, instead:
    USD of 1,000 requests at LEVEL of its score, by the router and by asking it always; saved: the
    share. alone_usd: what the cheapest mix of models would pay for the same without reading the
    prompts. settling: prompts and USD that would settle whether anything is saved, where that is
    open. rivals, more_rivals: those shown, and how many more there are.
    """

    measured: Measured
    verdict: Verdict
    baseline: Standing
    best: str
    asked_for: bool
    pays: Interval
    instead: Interval
    saved: Interval
    alone_usd: float
    by_reading: Interval
    standings: tuple[Standing, ...]
    offers: tuple[Offer, ...]
    mix: Mix | None
    kinds: tuple[Kind, ...]
    rivals: tuple[Rival, ...]
    more_rivals: int
    settling: tuple[int, float] | None


def check_baseline(against: str | None, models: Sequence[str]) -> None:
    """Raises DataError where the baseline is none of the graded models."""
    if against is not None and against not in models:
        raise DataError(
            f"--against {against}: no model of this name is graded; it must be one of "
            f"{', '.join(models)}"
        )


def find(seen: Measured, against: str | None = None) -> Findings:
    """The findings. against: the baseline (default: the model that scores best; of equal ones, the
    cheapest). Raises DataError where that model was not measured."""
    check_baseline(against, seen.models)
    order = np.lexsort((seen.single_cost[0], -np.round(seen.single_score[0] / SAME)))
    best = int(order[0])
    base = best if against is None else seen.models.index(against)
    paid = _paid(seen, range(len(seen.models)), [LEVEL] * len(seen.models))
    standings = tuple(_standing(seen, int(m), rank, paid[:, m]) for rank, m in enumerate(order, 1))
    baseline = next(one for one in standings if one.model == seen.models[base])
    pays, alone, instead = paid[:, base], _paid_alone(seen, base, LEVEL), seen.single_cost[:, base]
    saved = _saved(pays, instead)
    rivals = _rivals(seen, best)
    mix = _mix(seen, base, LEVEL)
    return Findings(
        measured=seen,
        verdict=_verdict(saved),
        baseline=baseline,
        best=seen.models[best],
        asked_for=against is not None,
        pays=_interval(PER * pays),
        instead=_interval(PER * instead),
        saved=saved,
        alone_usd=PER * float(alone[0]),
        by_reading=_interval(_share(alone - pays, instead)),
        standings=standings,
        offers=_offers(seen, base),
        mix=mix,
        kinds=_kinds(seen, mix),
        rivals=rivals[:_MOST_RIVALS],
        more_rivals=max(0, len(rivals) - _MOST_RIVALS),
        settling=_settling(seen, saved, _share(instead - pays, instead)),
    )


def _standing(seen: Measured, model: int, rank: int, pays: FloatArray) -> Standing:
    usd = seen.single_cost[:, model]
    return Standing(
        model=seen.models[model],
        rank=rank,
        score=_interval(seen.single_score[:, model]),
        usd=_interval(PER * usd),
        latency_s=seen.latency_s.get(seen.models[model]),
        answers=int(seen.answers[model]),
        router_usd=PER * float(pays[0]),
        saved=_saved(pays, usd),
    )


def _offers(seen: Measured, base: int) -> tuple[Offer, ...]:
    paid = _paid(seen, [base] * len(LEVELS), LEVELS)
    offers = []
    for level, pays in zip(LEVELS, paid.T, strict=True):
        mix = _mix(seen, base, level)
        worth = np.nan if mix is None else float(seen.usd_per_win[mix.high])
        offers.append(Offer(
            level=level,
            score=level * float(seen.single_score[0, base]),
            usd=_interval(PER * pays),
            saved=_saved(pays, seen.single_cost[:, base]),
            usd_per_win=worth if np.isfinite(worth) else None,
        ))  # fmt: skip
    return tuple(offers)


def _mix(seen: Measured, base: int, level: float) -> Mix | None:
    """The router's mix at that level of the baseline's score. None where asking the baseline always
    costs no more, or where the router does not reach it."""
    wanted = level * float(seen.single_score[0, base])
    mix = reach(seen.router_cost[0], seen.router_score[0], wanted)
    own = float(seen.single_cost[0, base])
    return mix if mix is not None and mix.cost_usd <= own * (1.0 + SAME) else None


def _paid(seen: Measured, base: Sequence[int], levels: Sequence[float]) -> FloatArray:
    """USD of a request (D, K) for each level of the score of each of K models, and at most that
    model's own cost: it can always be asked."""
    wanted = seen.single_score[:, base] * np.array(levels)
    draws = zip(seen.router_cost, seen.router_score, wanted, strict=True)
    found = np.array([costs_of(cost, score, some) for cost, score, some in draws])
    paid: FloatArray = np.minimum(found, seen.single_cost[:, base])
    return paid


def _paid_alone(seen: Measured, base: int, level: float) -> FloatArray:
    """USD of a request (D,) of the cheapest mix of single models at that level, chosen on these
    prompts."""
    wanted = seen.single_score[:, [base]] * level
    draws = zip(seen.single_cost, seen.single_score, wanted, strict=True)
    found = [costs_of(*envelope(cost, score), some)[0] for cost, score, some in draws]
    paid: FloatArray = np.minimum(np.array(found), seen.single_cost[:, base])
    return paid


def _saved(pays: FloatArray, instead: FloatArray) -> Interval:
    return _interval(_share(instead - pays, instead))


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    """part / whole, and 0 where the whole is free."""
    shares: FloatArray = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return shares


def _interval(draws: FloatArray) -> Interval:
    return interval(float(draws[0]), draws[1:].tolist())


def _verdict(saved: Interval) -> Verdict:
    value, low, high = (0.0 if one is None else one for one in saved)
    if value >= _WORTH_SAYING and low > _TRIVIAL:
        return Verdict.SAVES
    return Verdict.NOTHING if value < _WORTH_SAYING and high < _MAYBE else Verdict.UNSETTLED


def _settling(seen: Measured, saved: Interval, draws: FloatArray) -> tuple[int, float] | None:
    """The prompts and the USD for answers of every model that would keep zero out of the interval,
    which shrinks with the square root of their number."""
    if _verdict(saved) is not Verdict.UNSETTLED:
        return None
    needed = _needed(seen.n_prompts, float(draws[0]), draws)
    return None if needed is None else (needed, needed * float(seen.single_cost[0].sum()))


def _rivals(seen: Measured, best: int) -> tuple[Rival, ...]:
    """The models that the best one is not surely better than."""
    behind = seen.single_score[:, [best]] - seen.single_score
    found = []
    for model in np.argsort(behind[0], kind="stable").tolist():
        span = _interval(behind[:, model])
        if model == best or (span.low is not None and span.low > 0):
            continue
        needed = _needed(int(seen.answers[model]), float(behind[0, model]), behind[:, model])
        usd = float(seen.single_cost[0, model] + seen.single_cost[0, best])
        found.append(
            Rival(seen.models[model], span, needed, None if needed is None else needed * usd)
        )
    return tuple(found)


def _needed(n: int, value: float, draws: FloatArray) -> int | None:
    """How many more prompts would keep zero out of the interval; None where that takes more than
    _PATIENCE times those at hand."""
    half = _NORMAL * float(draws[1:].std())
    if abs(value) * np.sqrt(_PATIENCE) <= half:
        return None
    return max(1, int(np.ceil(n * ((half / value) ** 2 - 1.0))))


def _kinds(seen: Measured, mix: Mix | None) -> tuple[Kind, ...]:
    """Where each kind of prompt goes, the most frequent kind first; the rare ones together."""
    if mix is None:
        return ()
    names, counts = np.unique(seen.kind, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown, rest = order[:_MOST_KINDS], order[_MOST_KINDS:]
    kinds = [_kind(seen, mix, str(names[k]) or "all prompts", [str(names[k])]) for k in shown]
    if rest.size > 0:
        kinds.append(_kind(seen, mix, f"{rest.size} other kinds", [str(names[k]) for k in rest]))
    return tuple(kinds)


def _kind(seen: Measured, mix: Mix, name: str, of: Sequence[str]) -> Kind:
    inside = np.isin(seen.kind, of)
    shares = np.zeros(len(seen.models))
    for setting, share in ((mix.low, 1.0 - mix.share), (mix.high, mix.share)):
        asked = seen.picked[:, setting, inside]
        shares += share * np.bincount(asked.ravel(), minlength=len(seen.models)) / asked.size
    order = [int(m) for m in np.argsort(-shares, kind="stable") if shares[m] > 0]
    return Kind(name, int(inside.sum()), tuple((seen.models[m], float(shares[m])) for m in order))
