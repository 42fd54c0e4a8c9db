"""A drawing as a picture (PNG) for slides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from p2l_model.analysis.plots import require_matplotlib
from server.offline.report.findings import Findings
from server.offline.report.labels import Label
from server.offline.report.plane import WIDE, Drawing, draw
from server.offline.report.svg import X_TITLE, Y_TITLE
from server.offline.report.words import headline, tick_usd

_DPI: Final = 200
_PX_PER_INCH: Final = 100.0
_TITLE_PX: Final = 34.0
_POINTS_PER_PX: Final = 72.0 / _PX_PER_INCH
# The font of matplotlib is wider than those that browsers have.
_LETTER: Final = 0.82
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "router": {"color": "#1f5fd0", "linewidth": 2.2, "label": "the router"},
    "mix": {
        "color": "0.45",
        "linewidth": 1.0,
        "linestyle": "--",
        "label": "the best mix of models without reading the prompt",
    },
}


def draw_png(found: Findings, path: Path) -> None:
    """Draws the plane of the report. Raises ExtraMissingError without matplotlib."""
    require_matplotlib()
    # Not pyplot, which keeps figures and the choice of a display in global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = draw(found, WIDE)
    width, height = drawing.size.width, drawing.size.height + _TITLE_PX
    figure = Figure(figsize=(width / _PX_PER_INCH, height / _PX_PER_INCH), dpi=_DPI)
    canvas: Any = FigureCanvasAgg(figure)  # partly untyped
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(drawing.size.height, -_TITLE_PX)
    axes.axis("off")
    _axes(axes, drawing)
    for name, line in drawing.lines.items():
        axes.plot(*zip(*line, strict=True), **_STYLES[name])
    for dot in drawing.dots:
        style = {"marker": "D", "color": "#b4440a"} if dot.kind == "offer" else {"marker": "o",
            "color": "#1c2430"}  # fmt: skip
        axes.plot([dot.at.x], [dot.at.y], markersize=5, linestyle="", zorder=3, **style)
    for label in drawing.labels:
        _label(axes, label, drawing)
    axes.text(drawing.frame.x0, -_TITLE_PX / 2, _plain(headline(found)), va="center",
              fontsize=_size(drawing))  # fmt: skip
    axes.legend(loc="lower right", bbox_to_anchor=(0.98, 0.12), fontsize=8, frameon=True)
    canvas.print_png(path)


def _axes(axes: Any, drawing: Drawing) -> None:
    frame, size = drawing.frame, _size(drawing)
    style = {"color": "0.9", "linewidth": 0.8, "zorder": 0}
    for tick in drawing.x_ticks:
        x = drawing.x.pixel(tick)
        axes.plot([x, x], [frame.y0, frame.y1], **style)
        axes.text(x, frame.y1 + 6, _plain(tick_usd(tick)), ha="center", va="top", fontsize=size)
    for tick in drawing.y_ticks:
        y = drawing.y.pixel(tick)
        axes.plot([frame.x0, frame.x1], [y, y], **style)
        axes.text(frame.x0 - 6, y, f"{tick:g}", ha="right", va="center", fontsize=size)
    axes.text((frame.x0 + frame.x1) / 2, drawing.size.height - 4, X_TITLE, ha="center",
              va="bottom", fontsize=size)  # fmt: skip
    axes.text(10, (frame.y0 + frame.y1) / 2, Y_TITLE, rotation=90, ha="center", va="center",
              fontsize=size)  # fmt: skip


def _label(axes: Any, label: Label, drawing: Drawing) -> None:
    side = {"start": "left", "middle": "center", "end": "right"}[label.anchor]
    if label.far:
        axes.plot([label.of.x, label.at.x], [label.of.y, label.at.y - 4], color="0.6",
                  linewidth=0.6, zorder=1)  # fmt: skip
    axes.text(*label.at, _plain(label.text), ha=side, va="baseline", fontsize=_size(drawing))


def _size(drawing: Drawing) -> float:
    return drawing.size.letter * _LETTER * _POINTS_PER_PX


def _plain(text: str) -> str:
    # A dollar sign would start a formula.
    return text.replace("$", r"\$")
