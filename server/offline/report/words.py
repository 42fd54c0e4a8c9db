"""The report's sentences and numbers."""

from __future__ import annotations

from typing import Final

import numpy as np

from server.offline.report.findings import Findings, Rival, Verdict
from server.offline.simulate.curves import Interval

NONE: Final = "–"
_POINTS: Final = 100.0
# studies/study_report.py
_ENOUGH: Final = 100


def usd(amount: float) -> str:
    """An amount in dollars, with cents or with two digits that count."""
    if amount == 0 or not np.isfinite(amount):
        return "$0" if amount == 0 else NONE
    digits = 2 if amount >= 1 else min(8, 1 - int(np.floor(np.log10(amount))))
    return f"${amount:,.{digits}f}"


def tick_usd(amount: float) -> str:
    """A round amount in dollars, without digits that say nothing."""
    return f"${amount:,.8f}".rstrip("0").rstrip(".")


def usd_range(amount: Interval) -> str:
    """The interval of an amount in dollars."""
    low, high = _ends(amount)
    return f"[{usd(low)}, {usd(high)}]"


def percent(share: float) -> str:
    """A share in whole percent; tenths where it is small."""
    value = 100 * share
    return f"{value:.1f}%" if 0 < abs(value) < 10 else f"{value:.0f}%"


def percent_range(share: Interval) -> str:
    """The interval of a share."""
    low, high = _ends(share)
    return f"[{percent(low)}, {percent(high)}]"


def points(score: float) -> str:
    """A quality from 0 to 100."""
    return f"{_POINTS * score:.1f}"


def points_range(score: Interval) -> str:
    """The interval of a quality."""
    low, high = _ends(score)
    return f"[{points(low)}, {points(high)}]"


def seconds(latency_s: float | None) -> str:
    """How long an answer takes."""
    if latency_s is None:
        return NONE
    return f"{1000 * latency_s:.0f} ms" if latency_s < 1 else f"{latency_s:.1f} s"


def headline(found: Findings) -> str:
    """The one sentence to read."""
    model, level = found.baseline.model, "99%"
    pays, instead = usd(_value(found.pays)), usd(_value(found.instead))
    if found.verdict is Verdict.NOTHING:
        return (
            f"Nothing to save here: at {level} of the quality of {model} the router would pay "
            f"{pays} where {model} alone costs {instead} per 1,000 requests."
        )
    said = (
        f"At {level} of the quality of {model} you pay {pays} {usd_range(found.pays)} instead of "
        f"{instead} per 1,000 requests: {percent(_value(found.saved))} less "
        f"{percent_range(found.saved)}."
    )
    if found.verdict is Verdict.UNSETTLED:
        return f"Not settled whether there is anything to save. {said}"
    return said


def explanation(found: Findings) -> list[str]:
    """What the headline rests on, in sentences."""
    said = [_about_baseline(found)]
    if found.verdict is not Verdict.NOTHING:
        said.append(_about_reading(found))
    elif not found.asked_for:
        said.append(_about_dearer(found))
    return [sentence for sentence in said if sentence]


def _about_baseline(found: Findings) -> str:
    model = found.baseline.model
    if not found.asked_for:
        return f"{model} has the best quality on these prompts."
    if model == found.best:
        return f"{model} was asked for; it also has the best quality on these prompts."
    best = next(one for one in found.standings if one.model == found.best)
    return (
        f"{model} was asked for. The best quality is that of {best.model}: "
        f"{points(_value(best.score))} for {usd(_value(best.usd))} per 1,000 requests, against "
        f"{points(_value(found.baseline.score))} for {usd(_value(found.baseline.usd))}."
    )


def _about_reading(found: Findings) -> str:
    low, high = _ends(found.by_reading)
    alone = (
        f"The best choice of models without reading the prompts would pay {usd(found.alone_usd)} "
        "for that quality"
    )
    gain = _value(found.by_reading)
    surely = "" if low > 0 else ", and this difference may be chance"
    if gain > 0:
        return (
            f"{alone}; reading each prompt saves a further {percent(gain)} of the cost of "
            f"{found.baseline.model} {percent_range(found.by_reading)}{surely}."
        )
    return f"{alone}: reading the prompts gains nothing here [{percent(low)}, {percent(high)}]."


def _about_dearer(found: Findings) -> str:
    """Where the best model is a cheap one: what is saved against the dearest."""
    dearest = max(found.standings, key=lambda one: _value(one.usd))
    if dearest.model == found.baseline.model or _value(dearest.saved) <= 0:
        return ""
    return (
        f"Whoever uses {dearest.model} today pays {usd(_value(dearest.usd))} per 1,000 requests; "
        f"the router reaches 99% of its quality for {usd(dearest.router_usd)}."
    )


def rival(one: Rival, best: str) -> str:
    """What is known of a model that may be as good as the best, and what would settle it."""
    said = (
        f"{one.model} is {points(_value(one.behind))} points behind {best} "
        f"{points_range(one.behind)}: they may be equally good."
    )
    if one.prompts is None or one.usd is None:
        return f"{said} Treat them as equal: the difference is too small to measure."
    return f"{said} {_more(one.prompts, one.usd)} would settle it."


def caution(found: Findings) -> list[str]:
    """What to keep in mind of ranges from few prompts."""
    if found.measured.n_prompts >= _ENOUGH:
        return []
    return [
        f"With fewer than {_ENOUGH} prompts the ranges are too narrow: of 95 in 100 that should "
        "hold the truth, about 85 do."
    ]


def settling(found: Findings) -> str:
    """What would settle whether anything is saved; empty where that is settled."""
    if found.verdict is not Verdict.UNSETTLED:
        return ""
    if found.settling is None:
        return "Whether anything is saved cannot be settled with a reasonable number of prompts."
    prompts, cost = found.settling
    return f"{_more(prompts, cost, 'all models')} would settle whether anything is saved."


def open_questions(found: Findings) -> list[str]:
    """What is not settled, and what settling it costs."""
    said = [settling(found), *(rival(one, found.best) for one in found.rivals)]
    if found.more_rivals > 0:
        said.append(f"{found.more_rivals} more models may be as good as {found.best}.")
    said = [sentence for sentence in said if sentence]
    return said or [f"Nothing that matters: {found.best} is the best model beyond chance."]


def _more(prompts: int, cost: float, whose: str = "both models") -> str:
    return f"About {prompts:,} more prompts ({usd(cost)} for answers of {whose})"


def _value(one: Interval) -> float:
    return 0.0 if one.value is None else one.value


def _ends(one: Interval) -> tuple[float, float]:
    return (0.0 if one.low is None else one.low, 0.0 if one.high is None else one.high)
