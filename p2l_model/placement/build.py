"""Makes the table of facts from published results.

    python -m p2l_model.placement.build --results DIR/results.parquet \\
        --prices server/model_facts/facts.json --as-of 2026-11-30

The file of results has one row for each model, benchmark and category: source, snapshot_date,
model, benchmark, category, value. The price list gives prices and dates of release. Prints what
changed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2l_model.placement import factor, process
from p2l_model.placement.features import released_in
from p2l_model.placement.kernel import Item
from p2l_model.placement.names import Name, parse
from p2l_model.placement.sources import SOURCES, Source, chained, linear, published
from p2l_model.placement.table import FACTS, Facts, bundled_releases, parse_facts, release_of

Key = tuple[str, str]
Results = Mapping[str, Mapping[str, Mapping[Key, float]]]
_DIGITS: Final = {"percent": 1, "elo": 0, "linear": 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the table and prints the difference to the one before."""
    asked = _parser().parse_args(arguments)
    listed = json.loads(asked.prices.read_text(encoding="utf-8"))
    read = read_results(asked.results)
    text = make(read, listed, date.fromisoformat(asked.as_of))
    before = (
        parse_facts(asked.out.read_text(encoding="utf-8"), str(asked.out))
        if asked.out.exists()
        else None
    )
    asked.out.write_text(text, encoding="utf-8")
    for line in difference(before, parse_facts(text, str(asked.out))):
        print(line)
    return 0


def read_results(path: Path) -> list[dict[str, Any]]:
    """The rows of the file of results."""
    import pyarrow.parquet as parquet

    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def make(rows: Sequence[Mapping[str, Any]], listed: Mapping[str, Any], as_of: date) -> str:
    """The table as JSON. rows: published results. listed: the price list."""
    results = kept_results(rows)
    dates, prices = _dates(rows, listed), _prices(listed)
    known = sorted(
        {key for topics in results.values() for cells in topics.values() for key in cells}
    )
    wanted = sorted({*known, *((model, "") for model in prices)})
    items = {key: _item(key, dates, prices) for key in wanted}
    observed = observations(results, known)
    fitted = process.fit([items[key] for key in known], observed)
    alone = process.combined(observed, fitted)
    strengths = process.Strengths(
        [items[known[i]] for i in alone],
        np.array([value for value, _ in alone.values()]),
        np.array([variance for _, variance in alone.values()]),
        fitted.scales,
    )
    mean, covariance = strengths.of([items[key] for key in wanted])
    by_key = {known[i]: pair for i, pair in alone.items()}
    sd = np.sqrt(np.diag(covariance))
    return _text(
        {
            "as_of": as_of.isoformat(),
            "sources": {source.name: _about(source, rows, results) for source in SOURCES},
            "fitted": asdict(fitted),
        },
        [
            _row(items[key], results, by_key.get(key), (float(m), float(s)))
            for key, m, s in zip(wanted, mean, sd, strict=True)
        ],
    )


def kept_results(rows: Iterable[Mapping[str, Any]]) -> Results:
    """Source -> topic -> model and effort -> the one published number that is kept, rounded.
    Several spellings of one column give its mean."""
    found: dict[str, dict[tuple[str, str], dict[Key, list[float]]]] = {
        source.name: defaultdict(lambda: defaultdict(list)) for source in SOURCES
    }
    wanted = {source.origin: source for source in SOURCES}
    for row in rows:
        source, value = wanted.get(row["source"]), row["value"]
        if source is None or value is None or not math.isfinite(value):
            continue
        for topic, (benchmark, category) in source.topics.items():
            if row["category"] == category and _is_of(source, benchmark, row["benchmark"]):
                name = parse(row["model"])
                cell = found[source.name][topic, row["benchmark"]][name.model, name.effort]
                cell.append(linear(source.scale, value))
    return {source.name: _by_topic(source, found[source.name]) for source in SOURCES}


def observations(results: Results, known: Sequence[Key]) -> list[process.Observation]:
    """What each source says of each of its columns. known: the columns, in the order of items."""
    at = {key: index for index, key in enumerate(known)}
    found = []
    for source in SOURCES:
        topics = {topic: cells for topic, cells in results[source.name].items() if len(cells) > 1}
        keys = sorted({key for cells in topics.values() for key in cells})
        table = np.array(
            [
                [linear(source.scale, cells[k]) if k in cells else np.nan for k in keys]
                for cells in topics.values()
            ]
        )
        scores, variances = factor.fit(table).scores(table)
        found += [
            process.Observation(source.name, at[key], float(score), float(variance))
            for key, score, variance in zip(keys, scores, variances, strict=True)
        ]
    return found


def difference(before: Facts | None, after: Facts) -> list[str]:
    """A line for each column that is new, gone, or placed elsewhere by more than a tenth of its
    standard deviation."""
    if before is None:
        return [f"{len(after.rows)} columns, {_n_results(after)} results"]
    columns, results = (len(before.rows), len(after.rows)), (_n_results(before), _n_results(after))
    lines = ["{} -> {} columns, {} -> {} results".format(*columns, *results)]
    for key in sorted({*before.rows, *after.rows}):
        old, new = before.rows.get(key), after.rows.get(key)
        name = ":".join(part for part in key if part)
        if old is None and new is not None:
            lines.append(f"+ {name} {new.place[0]:.2f} +-{new.place[1]:.2f}")
        elif new is None:
            lines.append(f"- {name}")
        elif old is not None and abs(old.place[0] - new.place[0]) > 0.1 * new.place[1]:
            lines.append(f"  {name} {old.place[0]:.2f} -> {new.place[0]:.2f} +-{new.place[1]:.2f}")
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m p2l_model.placement.build", description=__doc__
    )
    parser.add_argument("--results", type=Path, required=True, help="the file of published results")
    parser.add_argument("--prices", type=Path, required=True, help="the table of model facts")
    parser.add_argument("--as-of", required=True, help="the day on which the sources were read")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name(FACTS), help="the table"
    )
    return parser


def _is_of(source: Source, benchmark: str, name: str) -> bool:
    return name.startswith(benchmark) if source.chained else name == benchmark


def _by_topic(
    source: Source, cells: Mapping[tuple[str, str], Mapping[Key, Sequence[float]]]
) -> dict[str, dict[Key, float]]:
    kept: dict[str, dict[Key, float]] = {}
    for topic in source.topics:
        releases = [cells[at] for at in sorted(cells) if at[0] == topic]
        keys = sorted({key for release in releases for key in release})
        table = np.array(
            [[float(np.mean(r[k])) if k in r else np.nan for k in keys] for r in releases]
        ).reshape(len(releases), len(keys))
        values = chained(table) if releases else np.zeros(0)
        digits = _DIGITS[source.scale]
        kept[topic] = {
            key: round(published(source.scale, float(value)), digits)
            for key, value in zip(keys, values, strict=True)
        }
    return kept


def _dates(rows: Iterable[Mapping[str, Any]], listed: Mapping[str, Any]) -> dict[str, date]:
    """The release of each model: as the price list has it, else as a published name has it, else as
    in the table of releases."""
    dates: dict[str, date] = {}
    for seller in listed["rows"].values():
        for name, row in seller.items():
            if "released" in row:
                dates.setdefault(parse(name).model, date.fromisoformat(row["released"]))
    for name in sorted({row["model"] for row in rows}):
        read = parse(name)
        if read.dated is not None:
            dates.setdefault(read.model, read.dated)
    return dates


def _prices(listed: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    prices: dict[str, tuple[float, float]] = {}
    for seller in listed["rows"].values():
        for name, row in seller.items():
            price = row.get("price") or {}
            pair = _number(price.get("in")), _number(price.get("out"))
            if pair[0] > 0 and pair[1] > 0:
                prices.setdefault(parse(name).model, pair)
    return prices


def _number(value: object) -> float:
    return float(value) if isinstance(value, str | int | float) else 0.0


def _item(key: Key, dates: Mapping[str, date], prices: Mapping[str, tuple[float, float]]) -> Item:
    model, effort = key
    found = release_of(model, bundled_releases())
    day = dates.get(model) or (None if found is None else found.day)
    return Item(model, effort, released_in(Name(model, effort, None), day), prices.get(model))


def _about(source: Source, rows: Iterable[Mapping[str, Any]], results: Results) -> dict[str, Any]:
    days = [str(row["snapshot_date"]) for row in rows if row["source"] == source.origin]
    return {
        "link": source.link,
        "read": max(days)[:10],
        "scale": source.scale,
        "topics": list(results[source.name]),
    }


def _row(
    item: Item,
    results: Results,
    alone: tuple[float, float] | None,
    place: tuple[float, float],
) -> dict[str, Any]:
    key = item.model, item.effort
    of_sources = {
        source: [cells.get(key) for cells in topics.values()]
        for source, topics in results.items()
        if any(key in cells for cells in topics.values())
    }
    row: dict[str, Any] = {"model": item.model, "effort": item.effort}
    if of_sources:
        row["results"] = of_sources
    if item.released is not None:
        row["released"] = round(item.released, 3)
    if item.price is not None:
        row["price"] = list(item.price)
    if alone is not None:
        row["alone"] = [round(number, 4) for number in alone]
    return row | {"place": [round(number, 4) for number in place]}


def _text(head: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """JSON with one line for each row, so that a difference can be read."""
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    top = json.dumps(head, indent=1)
    return f'{top[: top.rindex("}")].rstrip()},\n "rows": [\n{lines}\n]}}\n'


def _n_results(facts: Facts) -> int:
    return sum(row.n_results for row in facts.rows.values())


if __name__ == "__main__":
    sys.exit(main())
