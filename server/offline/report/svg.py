"""A drawing as SVG; colours are classes of the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from server.offline.report.labels import Label, Point
from server.offline.report.plane import Dot, Drawing
from server.offline.report.words import tick_usd

X_TITLE = "USD per 1,000 requests"
Y_TITLE = "quality, of 100"


def svg(drawing: Drawing, said: str, kind: str) -> str:
    """The element. said: what the picture shows, for those who cannot see it. kind: its class."""
    width, height = drawing.size.width, drawing.size.height
    return "\n".join((
        f'<svg class="plane {kind}" role="img" aria-label="{escape(said)}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-size="{drawing.size.letter:.0f}">',
        *_axes(drawing),
        *(f'<polyline class="{k}" points="{_path(line)}"/>' for k, line in drawing.lines.items()),
        *(_leader(label) for label in drawing.labels if label.far),
        *(_dot(dot) for dot in drawing.dots),
        *(_label(label) for label in drawing.labels),
        "</svg>",
    ))  # fmt: skip


def _axes(drawing: Drawing) -> Iterator[str]:
    frame, letter = drawing.frame, drawing.size.letter
    for tick in drawing.x_ticks:
        x = drawing.x.pixel(tick)
        yield _rule(x, frame.y0, x, frame.y1)
        yield _text(tick_usd(tick), Point(x, frame.y1 + letter + 4), "middle", "tick")
    for tick in drawing.y_ticks:
        y = drawing.y.pixel(tick)
        yield _rule(frame.x0, y, frame.x1, y)
        yield _text(f"{tick:g}", Point(frame.x0 - 6, y + letter * 0.35), "end", "tick")
    middle = (frame.x0 + frame.x1) / 2
    yield _text(X_TITLE, Point(middle, drawing.size.height - 6), "middle", "tick")
    yield (
        f'<text class="tick" text-anchor="middle" transform="translate({letter:.0f} '
        f'{(frame.y0 + frame.y1) / 2:.0f}) rotate(-90)">{Y_TITLE}</text>'
    )


def _rule(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<line class="rule" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def _leader(label: Label) -> str:
    y = label.at.y - 4 if label.at.y < label.of.y else label.at.y - 8
    return (
        f'<line class="leader" x1="{label.of.x:.1f}" y1="{label.of.y:.1f}" '
        f'x2="{label.at.x:.1f}" y2="{y:.1f}"/>'
    )


def _dot(dot: Dot) -> str:
    title = f"<title>{escape(dot.title)}</title>"
    if dot.kind == "offer":
        x, y = dot.at
        shape = f"{x:.1f},{y - 8:.1f} {x + 8:.1f},{y:.1f} {x:.1f},{y + 8:.1f} {x - 8:.1f},{y:.1f}"
        return f'<polygon class="offer" points="{shape}">{title}</polygon>'
    return (
        f'<circle class="{dot.kind}" cx="{dot.at.x:.1f}" cy="{dot.at.y:.1f}" r="4">{title}</circle>'
    )


def _label(label: Label) -> str:
    return _text(label.text, label.at, label.anchor, "name")


def _text(text: str, at: Point, anchor: str, kind: str) -> str:
    return (
        f'<text class="{kind}" x="{at.x:.1f}" y="{at.y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _path(line: Sequence[Point]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in line)
