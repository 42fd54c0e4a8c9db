"""The report of `p2l-router simulate`, with a local layer and without, and the files in --out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.offline.report.findings import Findings
    from server.offline.simulate.study import Study


def findings_of(study: Study, args: argparse.Namespace, *, with_settings: bool) -> Findings:
    """What the router's curve of the study says. with_settings: whether its values are those by
    which the gateway decides. Raises DataError."""
    from server.offline.report.findings import find
    from server.offline.report.kinds import kinds_of
    from server.offline.report.latency import latencies
    from server.offline.report.measured import measured
    from server.offline.simulate.study import OURS

    table = study.table
    seen = measured(
        table,
        study.curves[OURS],
        study.weights,
        latencies([Path(path) for path in args.scores]),
        kinds_of(table.category, table.conversations, study.hidden),
        with_settings=with_settings,
    )
    return find(seen, baseline_of(args))


def baseline_of(args: argparse.Namespace) -> str | None:
    """The model that --against names."""
    from p2l_model.data.model_names import canonical

    return None if args.against is None else canonical(args.against)


def write_files(
    out: Path,
    found: Findings,
    notes: Sequence[str],
    *,
    pareto: dict[str, Any],
    report: dict[str, Any],
) -> None:
    """Writes report.html, pareto.json, simulate.json and, where matplotlib is, pareto.png.
    notes: how it was measured, sentence by sentence. Raises DataError."""
    from p2l_model.errors import ExtraMissingError
    from server.offline.report.page import write_page
    from server.offline.report.picture import draw_png

    out.mkdir(parents=True, exist_ok=True)
    (out / "pareto.json").write_text(json.dumps(pareto, ensure_ascii=False, indent=1))
    (out / "simulate.json").write_text(json.dumps(report, ensure_ascii=False, indent=1))
    write_page(found, out / "report.html", "What routing would save", notes)
    try:
        draw_png(found, out / "pareto.png")
    except ExtraMissingError as error:
        print(f"pareto.png was not drawn: {error}; report.html has the picture", file=sys.stderr)
