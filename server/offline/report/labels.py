"""Places names beside points so that none covers another, a point, or leaves the frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

Anchor = Literal["start", "middle", "end"]

# Of the size of a letter, in any common font; wide ones stand for East Asian scripts.
_WIDTH: Final = 0.62
_WIDE: Final = 1.05
_FIRST_WIDE: Final = 0x1100
_UP: Final = 0.8
_DOWN: Final = 0.28
_GAP: Final = 7.0
# How far a name may stand from its point, in heights of a line, with a thin line between them.
_RINGS: Final = (1.6, 2.6, 3.8, 5.2)


class Point(NamedTuple):
    """A place in pixels, y downwards."""

    x: float
    y: float


class Box(NamedTuple):
    """A rectangle in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def holds(self, other: Box) -> bool:
        """Whether the other one lies wholly inside."""
        inside = self.x0 <= other.x0 and self.y0 <= other.y0
        return inside and other.x1 <= self.x1 and other.y1 <= self.y1

    def meets(self, other: Box) -> bool:
        """Whether they have a point in common."""
        apart = self.x1 < other.x0 or other.x1 < self.x0
        return not (apart or self.y1 < other.y0 or other.y1 < self.y0)

    def has(self, point: Point) -> bool:
        """Whether the point lies inside."""
        return self.x0 <= point.x <= self.x1 and self.y0 <= point.y <= self.y1


class Label(NamedTuple):
    """A text at its baseline; far: a line leads to its point, `of`."""

    text: str
    at: Point
    anchor: Anchor
    box: Box
    of: Point
    far: bool


def place(
    points: Sequence[Point],
    texts: Sequence[str],
    frame: Box,
    size: float,
    lines: Sequence[Point] = (),
    marks: Sequence[Point] = (),
) -> list[Label | None]:
    """A label for each point (None where there is no room), the first points first. size: of a
    letter, in pixels. lines: points of drawn lines, which names keep off where they can. marks:
    other marks, which no name covers."""
    taken: list[Box] = []
    found: list[Label | None] = []
    for point, text in zip(points, texts, strict=True):
        near = [Box(p.x - 5, p.y - 5, p.x + 5, p.y + 5) for p in (*points, *marks) if p != point]
        free = [
            label
            for label in _candidates(point, text, size)
            if frame.holds(label.box) and not any(label.box.meets(box) for box in taken + near)
        ]
        clear = (label for label in free if not any(label.box.has(p) for p in lines))
        chosen = next(clear, free[0] if free else None)
        found.append(chosen)
        if chosen is not None:
            taken.append(chosen.box)
    return found


def width_of(text: str, size: float) -> float:
    """At least the width of the text in pixels."""
    return size * sum(_WIDE if ord(letter) >= _FIRST_WIDE else _WIDTH for letter in text)


def _candidates(point: Point, text: str, size: float) -> Iterator[Label]:
    middle = point.y + size * 0.3
    yield _label(text, size, Point(point.x + _GAP, middle), "start", point, far=False)
    yield _label(text, size, Point(point.x - _GAP, middle), "end", point, far=False)
    yield _label(text, size, Point(point.x, point.y - _GAP - 1), "middle", point, far=False)
    yield _label(text, size, Point(point.x, point.y + _GAP + size), "middle", point, far=False)
    for ring in _RINGS:
        for down in (-ring, ring):
            y = middle + down * size
            yield _label(text, size, Point(point.x + _GAP, y), "start", point, far=True)
            yield _label(text, size, Point(point.x - _GAP, y), "end", point, far=True)


def _label(text: str, size: float, at: Point, anchor: Anchor, of: Point, *, far: bool) -> Label:
    width = width_of(text, size)
    left = {"start": at.x, "middle": at.x - width / 2, "end": at.x - width}[anchor]
    box = Box(left, at.y - _UP * size, left + width, at.y + _DOWN * size)
    return Label(text, at, anchor, box, of, far)
