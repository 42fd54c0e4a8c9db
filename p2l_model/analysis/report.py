"""The strengths report: one HTML file without scripts or external resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.analysis.bootstrap import ranks_of
from p2l_model.analysis.strengths import Strengths
from p2l_model.analysis.study import StrengthsStudy
from p2l_model.errors import DataError, ExtraMissingError

_TEMPLATE: Final = "report.html.j2"
_EXAMPLE_CHARS: Final = 400
_ON_LADDERS: Final = 12
# The sizes of the ladder drawing, in pixels.
_STEP_X, _STEP_Y, _TOP, _LEFT = 100, 26, 78, 210
_MOST_COLOUR: Final = 0.8  # of a cell, so that text stays readable
_COLOURS: Final = 12


def write_report(study: StrengthsStudy, path: Path, *, title: str, n_examples: int = 3) -> None:
    """Writes the report. Everything that comes from prompts, columns or model names is escaped.

    Raises ExtraMissingError without jinja2, DataError where the file cannot be written.
    """
    html = render_report(study, title=title, n_examples=n_examples)
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error


def render_report(study: StrengthsStudy, *, title: str, n_examples: int = 3) -> str:
    """Returns the page as HTML. Raises ExtraMissingError without jinja2."""
    template = _environment().get_template(_TEMPLATE)
    found = study.strengths
    page: str = template.render(
        title=title,
        n_prompts=sum(found.n_prompts),
        categories=[_category(study, index, n_examples) for index in range(len(found.categories))],
        rows=_heat_rows(found),
        ladder=_ladder(found),
        highlights=_highlights(found),
        n_significant=int(np.count_nonzero(found.significant)),
        n_cells=found.deviation.size,
        rand=None if study.adjusted_rand is None else float(np.mean(study.adjusted_rand)),
    )
    return page


def require_jinja() -> None:
    """Raises ExtraMissingError where jinja2 is not installed."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("jinja2", "analysis") from error


def _environment() -> Any:
    require_jinja()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _category(study: StrengthsStudy, index: int, n_examples: int) -> dict[str, Any]:
    found, category = study.strengths, study.categories[index]
    order = np.argsort(-found.by_category[index], kind="stable")[:5]
    return {
        "name": category.name,
        "n_prompts": found.n_prompts[index],
        "level": float(found.level[index]),
        "words": category.words,
        "best": [found.models[model] for model in order],
        "examples": [_cut("\n\n".join(c.turns)) for c in category.typical[:n_examples]],
    }


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _EXAMPLE_CHARS else text[: _EXAMPLE_CHARS - 1] + "…"


def _heat_rows(found: Strengths) -> list[dict[str, Any]]:
    """Rows of the heat map, best model first; a cell's colour is its deviation relative to the
    largest."""
    largest = max(float(np.abs(found.deviation).max()), 1e-9)
    rows = []
    for rank, model in enumerate(np.argsort(-found.overall, kind="stable"), 1):
        cells = []
        for category in range(len(found.categories)):
            cell = found.cell(category, int(model))
            share = abs(cell["deviation"]) / largest * _MOST_COLOUR
            hue = "33,102,172" if cell["deviation"] > 0 else "178,24,43"
            cells.append(cell | {"colour": f"rgba({hue},{share:.3f})"})
        name, coefficient = found.models[model], float(found.overall[model])
        rows.append({"rank": rank, "model": name, "coefficient": coefficient, "cells": cells})
    return rows


def _highlights(found: Strengths) -> list[dict[str, Any]]:
    """Each model's largest significant deviations up and down; models without any are left out."""
    rows = []
    for model in np.argsort(-found.overall, kind="stable"):
        column = np.where(found.significant[:, model], found.deviation[:, model], 0.0)
        if not column.any():
            continue
        best, worst = int(column.argmax()), int(column.argmin())
        rows.append({
            "model": found.models[model],
            "best": found.cell(best, int(model)) if column[best] > 0 else None,
            "worst": found.cell(worst, int(model)) if column[worst] < 0 else None,
        })  # fmt: skip
    return rows


def _ladder(found: Strengths) -> dict[str, Any]:
    """Lines over the columns (overall, then each category); a model's height is its rank among the
    best overall."""
    shown = np.argsort(-found.overall, kind="stable")[:_ON_LADDERS]
    boards = np.vstack([found.overall, found.by_category])
    among, whole = ranks_of(boards[:, shown]), ranks_of(boards)
    columns = ["overall", *found.categories]
    x = [_LEFT + _STEP_X * index for index in range(len(columns))]
    lines = []
    for place, model in enumerate(shown):
        y = [_TOP + _STEP_Y * (int(rank) - 1) for rank in among[:, place]]
        steps = zip(columns, x, y, whole[:, model].astype(int).tolist(), strict=True)
        lines.append({
            "model": found.models[model],
            "hue": round(360 * place / _COLOURS),
            "points": " ".join(f"{a},{b}" for a, b in zip(x, y, strict=True)),
            "steps": [{"column": c, "x": a, "y": b, "rank": r} for c, a, b, r in steps],
        })  # fmt: skip
    size = {"width": x[-1] + _LEFT, "height": _TOP + _STEP_Y * len(shown)}
    heads = [
        {"name": _short(name), "full": name, "x": a} for name, a in zip(columns, x, strict=True)
    ]
    return {"lines": lines, "columns": heads, **size}


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"
