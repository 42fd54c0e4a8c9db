"""Draws leaderboards as pictures (PNG)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.analysis.leaderboard import Leaderboard
from p2l_model.errors import ExtraMissingError

_DPI: Final = 120
# More cannot be read on a slide.
_MOST_MODELS: Final = 24
_LONGEST_NAME: Final = 34


def require_matplotlib() -> None:
    """Raises ExtraMissingError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("matplotlib", "analysis") from error


def draw_leaderboard(board: Leaderboard, groups: Mapping[str, Leaderboard], path: Path) -> None:
    """Draws coefficients with their intervals, the best on top, and each group's win rates beside
    them.

    At most 24 models are drawn, the best ones. Raises ExtraMissingError without matplotlib.
    """
    require_matplotlib()
    # Not pyplot, which keeps figures and the choice of a display in global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = board.top(_MOST_MODELS)
    width = 8.0 + (2.0 + 0.45 * len(groups) if groups else 0.0)
    figure = Figure(figsize=(width, 1.5 + 0.3 * len(rows)), dpi=_DPI, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)  # partly untyped
    ratios = [8.0, width - 8.0] if groups else [1.0]
    panels = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
    _ladder(panels[0], board)
    if groups:
        _heat_map(figure, panels[1], board, groups)
    canvas.print_png(path)


def _ladder(axes: Any, board: Leaderboard) -> None:
    rows = board.top(_MOST_MODELS)
    place = np.arange(len(rows))
    centre = np.array([row.coefficient for row in rows])
    spans = [row.ci95 or (row.coefficient, row.coefficient) for row in rows]
    low, high = np.array([span[0] for span in spans]), np.array([span[1] for span in spans])
    error = [np.maximum(centre - low, 0), np.maximum(high - centre, 0)]
    axes.errorbar(centre, place, xerr=error, fmt="o", markersize=4, capsize=2, elinewidth=1)
    axes.set_yticks(place, [f"{_short(row.model)}  {row.rank}" for row in rows], fontsize=10)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="0.9")
    axes.set_xlabel("strength (one more wins 73% of comparisons), 95% interval over prompts")
    shown = (
        f", the best {len(rows)} of {len(board.rows)} models" if len(rows) < len(board.rows) else ""
    )
    axes.set_title(f"{board.n_prompts} prompts{shown}", fontsize=11)


def _heat_map(
    figure: Any, axes: Any, board: Leaderboard, groups: Mapping[str, Leaderboard]
) -> None:
    rows = board.top(_MOST_MODELS)
    rates = np.array([[each[row.model].win_rate for each in groups.values()] for row in rows])
    image = axes.imshow(rates, aspect="auto", cmap="RdBu", vmin=0.0, vmax=1.0)
    names = [_short(name) or "(none)" for name in groups]
    axes.set_xticks(np.arange(len(names)), names, rotation=60, ha="right", fontsize=8)
    axes.set_yticks([])
    axes.set_title("win rate by group", fontsize=10)
    figure.colorbar(image, ax=axes, fraction=0.05)


def _short(name: str) -> str:
    # A dollar sign would start a formula.
    cut = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return cut.replace("$", r"\$")
