"""Draws the first picture of the README: for one prompt, each model's expected cost and win rate,
the best that any budget can buy, and what the router chooses at three budgets.

python studies/picture_plane.py [--out docs/plane.svg]

The figures are those of `p2l-router route` without a configuration and without keys. A mix of two
models is straight in dollars, and so a curve where the dollars are on a logarithmic axis.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

PROMPT: Final = "Prove that the square root of 2 is irrational."
BUDGETS: Final = ("0.0005", "0.002", "0.01")
_WIDE, _HIGH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 430, 62, 24, 46, 52
_LEAST_USD, _MOST_USD = 3e-5, 0.1
_LEAST_RATE, _MOST_RATE = 0.35, 0.78
# Readable on white and on black.
_GREY, _BLUE, _RED = "#808080", "#2e86de", "#d1495b"
_SAMPLES: Final = 24


class Point(NamedTuple):
    """A model, or a mix: USD of the request, and its win rate."""

    name: str
    usd: float
    rate: float


def route(*flags: str) -> dict[str, Any]:
    """The decision of the program itself, without any key."""
    command = [sys.executable, "-m", "server", "route", PROMPT, "--seed", "0", "--json", *flags]
    keyless = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    done = subprocess.run(command, env=keyless, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def hull(points: Sequence[Point]) -> list[Point]:
    """The models of which no mix of others is better at the same cost, cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (one.usd, -one.rate)):
        if kept and point.rate <= kept[-1].rate:
            continue
        while len(kept) > 1 and _slope(kept[-2], point) >= _slope(kept[-2], kept[-1]):
            kept.pop()
        kept.append(point)
    return kept


def _slope(one: Point, other: Point) -> float:
    return (other.rate - one.rate) / (other.usd - one.usd)


def curve(corners: Sequence[Point]) -> Iterator[tuple[float, float]]:
    """The mixes of neighbours, each at (USD, win rate)."""
    for low, high in itertools.pairwise(corners):
        for step in range(_SAMPLES + 1):
            usd = low.usd * (high.usd / low.usd) ** (step / _SAMPLES)
            share = (usd - low.usd) / (high.usd - low.usd)
            yield usd, low.rate + share * (high.rate - low.rate)


def x_of(usd: float) -> float:
    """The place of an amount on the logarithmic axis."""
    share = math.log(usd / _LEAST_USD) / math.log(_MOST_USD / _LEAST_USD)
    return _LEFT + share * (_WIDE - _LEFT - _RIGHT)


def y_of(rate: float) -> float:
    """The place of a win rate."""
    share = (rate - _LEAST_RATE) / (_MOST_RATE - _LEAST_RATE)
    return _HIGH - _BOTTOM - share * (_HIGH - _TOP - _BOTTOM)


def drawn(models: Sequence[Point], chosen: Sequence[Point]) -> str:
    """The picture as SVG."""
    corners = hull(models)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" '
        f'height="{_HIGH}" role="img" font-family="sans-serif" font-size="12">',
        "<title>One prompt: what each model costs, how likely its answer wins, and what three "
        "budgets buy</title>",
        *_axes(),
    ]
    path = " ".join(f"{x_of(usd):.1f},{y_of(rate):.1f}" for usd, rate in curve(corners))
    lines.append(f'<polyline points="{path}" fill="none" stroke="{_BLUE}" stroke-width="2"/>')
    best = {corner.name for corner in corners}
    for one in models:
        where = f'cx="{x_of(one.usd):.1f}" cy="{y_of(one.rate):.1f}"'
        colour, size = (_BLUE, 5) if one.name in best else (_GREY, 3)
        lines.append(
            f'<circle {where} r="{size}" fill="{colour}"><title>{one.name}</title></circle>'
        )
    lines += _names(corners, models)
    for one in chosen:
        x, y = x_of(one.usd), y_of(one.rate)
        lines.append(f'<path d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z" fill="{_RED}"/>')
        said = f"{one.name} USD: {one.rate:.0%}"
        lines.append(_text(x + 9, y + 17, said, "start", _RED))
    lines.append(_text(_LEFT, 18, f"\u201c{PROMPT}\u201d", "start", _GREY))
    lines.append(_text(_LEFT, 34, f"{len(models)} models; diamonds: the router at three budgets",
                       "start", _GREY))  # fmt: skip
    return "\n".join([*lines, "</svg>"]) + "\n"


def _names(corners: Sequence[Point], models: Sequence[Point]) -> Iterator[str]:
    """The names of those corners that lie apart, of the best model, and of the dearest."""
    best, dearest = corners[-1], max(models, key=lambda one: one.usd)
    ends_at = 0.0
    for one in corners[:-1]:
        x = x_of(one.usd)
        if x - 7 * len(one.name) > ends_at and x < x_of(best.usd) - 60:
            yield _text(x - 4, y_of(one.rate) - 9, one.name, "end", _BLUE)
            ends_at = x
    yield _text(x_of(best.usd) + 9, y_of(best.rate) + 4, best.name, "start", _BLUE)
    yield _text(x_of(dearest.usd), y_of(dearest.rate) + 18, dearest.name, "end", _GREY)


def _axes() -> Iterator[str]:
    bottom = _HIGH - _BOTTOM
    for rate in (0.4, 0.5, 0.6, 0.7):
        y = y_of(rate)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDE - _RIGHT}" stroke="{_GREY}" opacity="0.3"/>'
        yield _text(_LEFT - 8, y + 4, f"{rate:.0%}", "end", _GREY)
    for usd in (0.0001, 0.001, 0.01, 0.1):
        x = x_of(usd)
        yield f'<path d="M{x:.1f} {bottom}v5" stroke="{_GREY}"/>'
        yield _text(x, bottom + 18, f"{usd:g}", "middle", _GREY)
    yield f'<path d="M{_LEFT} {bottom}H{_WIDE - _RIGHT}" stroke="{_GREY}"/>'
    middle = (_LEFT + _WIDE - _RIGHT) / 2
    yield _text(middle, _HIGH - 12, "expected cost of the answer, USD", "middle", _GREY)
    yield _text(8, _TOP - 2, "win rate", "start", _GREY)


def _text(x: float, y: float, said: str, anchor: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{said}</text>'


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/plane.svg"))
    args = parser.parse_args()
    models = [
        Point(one["model"], one["expected_cost_usd"], one["win_rate"])
        for one in route()["alternatives"]
        if one["eligible"] and one["expected_cost_usd"] is not None
    ]
    mixes = [(budget, route("--budget", budget)) for budget in BUDGETS]
    chosen = [Point(b, d["mix_expected_cost_usd"], d["mix_win_rate"]) for b, d in mixes]
    args.out.write_text(drawn(models, chosen), encoding="utf-8")


if __name__ == "__main__":
    main()
