"""Draws the curves as a picture (PNG)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.analysis.plots import require_matplotlib
from server.offline.simulate.curves import envelope, single_models
from server.offline.simulate.study import Study

_DPI: Final = 120
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "p2l": {"color": "C0", "linewidth": 2.2},
    "marginal": {"color": "C1", "linestyle": "--"},
    "per_category": {"color": "C2", "linestyle": "--"},
    "oracle": {"color": "0.6", "linestyle": ":"},
}


def draw_study(study: Study, path: Path) -> None:
    """Draws score by cost on a logarithmic axis. Raises ExtraMissingError without matplotlib."""
    require_matplotlib()
    # Not pyplot, which keeps figures and the choice of a display in global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.5), dpi=_DPI, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)  # partly untyped
    axes: Any = figure.subplots()
    flat = np.ones(study.weights.shape[1])
    for name, curve in study.curves.items():
        axes.plot(*curve.means(flat), label=name, **_STYLES[name])
    _singles(axes, study)
    axes.set_xscale("log")
    axes.set_xlabel("mean cost of a request (USD)")
    axes.set_ylabel("mean score")
    area = study.area["p2l"]
    axes.set_title(
        f"{len(study.table.conversations)} prompts; area over the best random mix "
        f"{area.value:+.4f} [{area.low:+.4f}, {area.high:+.4f}]",
        fontsize=10,
    )
    axes.grid(color="0.92")
    axes.legend(loc="lower right", fontsize=8)
    canvas.print_png(path)


def _singles(axes: Any, study: Study) -> None:
    flat = np.ones(study.weights.shape[1])
    cost, score = single_models(study.table).means(flat)
    axes.plot(cost, score, "k.", markersize=5)
    for name, x, y in zip(study.table.models, cost, score, strict=True):
        axes.annotate(name[-24:], (x, y), fontsize=6, xytext=(3, -7), textcoords="offset points")
    axes.plot(*envelope(cost, score), color="k", linewidth=0.8, label="random mix of models")
