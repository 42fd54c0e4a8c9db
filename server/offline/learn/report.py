"""The report of a run: what routing would save on its prompts, from the files that it wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np

from p2l_model.analysis.scored import PromptReader
from p2l_model.data.tables import read_columns
from p2l_model.errors import DataError
from p2l_model.placement.place import bundled_placer
from server.offline.learn.journal import write_whole
from server.offline.report.cross_validated import cross_validated
from server.offline.report.findings import Findings, find
from server.offline.report.kinds import kinds_of
from server.offline.report.latency import latencies
from server.offline.report.measured import measured
from server.offline.report.page import page
from server.offline.simulate.curves import N_RESAMPLES, bootstrap_weights
from server.offline.simulate.table import MIN_COVERAGE, ScoreTable, load_scores

Progress = Callable[[str, int, int], None]
# With fewer prompts the intervals would say nothing.
FEWEST_PROMPTS: Final = 20


class Report(NamedTuple):
    """findings: None where there are too few answers; notes then say why."""

    findings: Findings | None
    notes: tuple[str, ...]


def report_of(
    folder: Path, checkpoint: str, engine: str, against: str | None, on_progress: Progress
) -> Report:
    """Reads grades.jsonl in the folder of a run, and writes report.html there. against: as in
    `find`. Raises DataError where that model has no grades."""
    path = folder / "grades.jsonl"
    try:
        table, notes = _table(path)
    except DataError as error:
        return Report(None, (f"There is no report: {error}.",))
    n = len(table.conversations)
    if n < FEWEST_PROMPTS:
        said = f"There is no report: it needs {FEWEST_PROMPTS} prompts that all models answered"
        return Report(None, (f"{said}, and has {n}.",))
    reader = PromptReader.load(checkpoint, engine)
    try:
        curve = cross_validated(table, reader, bundled_placer(), on_progress)
        hidden = np.concatenate([
            reader.checkpoint.heads.hidden(reader.features(table.conversations[k : k + 64]))
            for k in range(0, n, 64)
        ])  # fmt: skip
    finally:
        reader.engine.close()
    kind = kinds_of(table.category, table.conversations, hidden)
    weights = bootstrap_weights(n, 0, N_RESAMPLES)
    # What a win is worth to the gateway is on the scale of its own values, which are not these.
    seen = measured(table, curve, weights, latencies([path]), kind, with_settings=False)
    found = find(seen, against)
    # Its kinds are named by words of the prompts: like the other files, it is its owner's only.
    write_whole(folder / "report.html", page(found, "What routing would save", notes))
    return Report(found, notes)


def _table(path: Path) -> tuple[ScoreTable, tuple[str, ...]]:
    """The complete table of the grades of one source, and what was left out. Raises DataError."""
    columns = read_columns(path)
    sources = Counter(str(source) for source in columns["judge"])
    if not sources:
        raise DataError("nothing was graded")
    source = sources.most_common(1)[0][0]
    kept = [k for k, one in enumerate(columns["judge"]) if str(one) == source]
    rows = [{name: values[k] for name, values in columns.items()} for k in kept]
    with TemporaryDirectory() as place:
        own = Path(place) / "grades.jsonl"
        own.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        table = _complete(load_scores([own], {}))
    notes = [f"Graded by {source}, whose scale is its own."]
    others = sum(sources.values()) - sources[source]
    if others > 0:
        notes.append(f"{others} grades of other sources are on scales of their own: not counted.")
    notes.append("Each prompt was decided by what was learnt from the answers to other prompts.")
    return table, (*notes, *(f"Not counted: {note}." for note in table.notes))


def _complete(table: ScoreTable) -> ScoreTable:
    """The table without models that were not asked to the end, since their place was settled; the
    best one stays, with the prompts that it answered."""
    known = np.isfinite(table.score) & np.isfinite(table.cost_usd)
    means = np.where(known.any(axis=0), np.nanmean(np.where(known, table.score, np.nan), axis=0), 0)
    best = int(np.argmax(means))
    if known[:, best].mean() > MIN_COVERAGE:
        return table.complete()
    return table.of_prompts(known[:, best], "prompts were not asked of the best model").complete()
