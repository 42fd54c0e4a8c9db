"""The plane of cost and quality: where each line and each name is drawn, in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from p2l_model.types import FloatArray
from server.offline.report.axes import Axis, cost_axis, score_axis
from server.offline.report.findings import PER, Findings
from server.offline.report.labels import Box, Label, Point, place, width_of
from server.offline.report.reach import steps
from server.offline.report.words import tick_usd, usd
from server.offline.simulate.curves import envelope

POINTS: Final = 100.0
# Pixels between the points of a line.
_STEP: Final = 3.0
_TICK_GAP: Final = 14.0


class Size(NamedTuple):
    """Of a picture and its letters, in pixels. longest: of a name, in letters."""

    width: float
    height: float
    letter: float
    longest: int


WIDE: Final = Size(960.0, 480.0, 13.0, 34)
NARROW: Final = Size(350.0, 420.0, 12.0, 24)


class Dot(NamedTuple):
    """A model, or what the router would pay. kind: the class of its mark."""

    at: Point
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn. x: USD of 1,000 requests; y: points of quality, of 100. lines: by class."""

    size: Size
    frame: Box
    x: Axis
    y: Axis
    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]
    lines: dict[str, tuple[Point, ...]]
    dots: tuple[Dot, ...]
    labels: tuple[Label, ...]
    unnamed: int


def draw(found: Findings, size: Size) -> Drawing:
    """Lays the picture out."""
    seen = found.measured
    frame = Box(46.0, 12.0, size.width - 12.0, size.height - 44.0)
    cost, score = PER * seen.single_cost[0], POINTS * seen.single_score[0]
    ours = PER * seen.router_cost[0], POINTS * seen.router_score[0]
    router = steps(*ours)[1:]
    x = cost_axis([*cost.tolist(), *router[0].tolist()], frame.x0, frame.x1)
    y = score_axis([*score.tolist(), *router[1].tolist()], frame.y1, frame.y0)
    lines = {
        "mix": _line(*envelope(cost, score), x, y),
        "router": _line(*router, x, y),
    }
    models, order = _models(found, cost, score, x, y)
    named = [_cut(seen.models[m], size.longest) for m in order]
    points = [dot.at for dot in models]
    offer = _offer(found, x, y)
    drawn, marks = [*lines["router"], *lines["mix"]], [dot.at for dot in offer]
    labels = place(points, named, frame, size.letter, drawn, marks)
    return Drawing(
        size=size,
        frame=frame,
        x=x,
        y=y,
        x_ticks=_x_ticks(x, size),
        y_ticks=tuple(y.ticks(7)),
        lines=lines,
        dots=(*models, *offer),
        labels=tuple(label for label in labels if label is not None),
        unnamed=sum(label is None for label in labels),
    )


def _line(cost: FloatArray, score: FloatArray, x: Axis, y: Axis) -> tuple[Point, ...]:
    """The line through the points, straight in dollars between neighbours: where the axis has equal
    ratios it is bent, so it is drawn every few pixels."""
    points = []
    for k in range(len(cost) - 1):
        left, right = x.pixel(float(cost[k])), x.pixel(float(cost[k + 1]))
        share = np.arange(max(1, int((right - left) / _STEP))) * _STEP / max(right - left, 1e-9)
        dollars = [x.value(left + float(part) * (right - left)) for part in share]
        heights = np.interp(dollars, cost[k : k + 2], score[k : k + 2]).tolist()
        points += [Point(x.pixel(c), y.pixel(h)) for c, h in zip(dollars, heights, strict=True)]
    return (*points, Point(x.pixel(float(cost[-1])), y.pixel(float(score[-1]))))


def _models(
    found: Findings, cost: FloatArray, score: FloatArray, x: Axis, y: Axis
) -> tuple[tuple[Dot, ...], list[int]]:
    """The dots of the models and their places in the table: those that matter first, so that they
    are named where not all can be."""
    names = found.measured.models
    hull = set(envelope(cost, score)[0].tolist())
    first = [names.index(found.baseline.model), names.index(found.best)]
    first += [int(m) for m in np.argsort(-score, kind="stable") if cost[m] in hull]
    order = list(dict.fromkeys([*first, *np.argsort(-score, kind="stable").tolist()]))
    dots = tuple(
        Dot(
            Point(x.pixel(float(cost[m])), y.pixel(float(score[m]))),
            "model",
            f"{names[m]}: quality {score[m]:.1f}, {usd(float(cost[m]))} per 1,000 requests",
        )
        for m in order
    )
    return dots, order


def _offer(found: Findings, x: Axis, y: Axis) -> tuple[Dot, ...]:
    """What the headline says the router pays, as a mark on its line."""
    if found.mix is None:
        return ()
    mix, score = found.mix, POINTS * found.mix.score
    at = Point(x.pixel(PER * mix.cost_usd), y.pixel(score))
    said = f"the router: quality {score:.1f}, {usd(PER * mix.cost_usd)} per 1,000 requests"
    return (Dot(at, "offer", said),)


def _x_ticks(x: Axis, size: Size) -> tuple[float, ...]:
    """The round costs that have room beside each other."""
    for most in range(9, 1, -1):
        ticks = x.ticks(most)
        if not _crowded(x, ticks, size):
            return tuple(ticks)
    return tuple(x.ticks(2)[:1])


def _crowded(x: Axis, ticks: Sequence[float], size: Size) -> bool:
    halves = [(x.pixel(tick), width_of(tick_usd(tick), size.letter) / 2) for tick in ticks]
    pairs = pairwise(halves)
    if any(a + half + _TICK_GAP > b - other for (a, half), (b, other) in pairs):
        return True
    return any(at + half > size.width or at - half < 0 for at, half in halves)


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
