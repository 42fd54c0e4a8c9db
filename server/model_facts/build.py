"""Builds the table of facts: `python -m server.model_facts.build --litellm WHEEL` (`make facts`).

The same sources give the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson

from server.model_facts.genai_rows import genai_rows
from server.model_facts.hand import ALIASES, hand_rows
from server.model_facts.litellm_map import VENDORS, LiteLlmMap, aliases_of, read_map, rows_of

BUNDLED: Final = Path(__file__).with_name("facts.json")
_DATED: Final = re.compile(r"^(?P<stem>.+)-(?P<y>\d{4})-?(?P<m>\d{2})-?(?P<d>\d{2})$")
Rows = dict[str, dict[str, dict[str, Any]]]


def document_of(found: LiteLlmMap, as_of: date) -> dict[str, Any]:
    """The table as it is written: LiteLLM's rows, genai-prices' cells where LiteLLM has none, and
    cells checked by hand over both. as_of: the day on which the sources were read."""
    rows = rows_of(found, as_of)
    _with_genai(rows, as_of)
    _with_hand(rows, as_of)
    _with_releases(rows)
    _billed_per_prompt(rows)
    aliases = aliases_of(found)
    for seller, more in ALIASES.items():
        aliases[seller] = aliases.get(seller, {}) | dict(more)
    return {"as_of": as_of.isoformat(), "made_from": found.cited, "rows": rows, "aliases": aliases}


def written(document: Mapping[str, Any]) -> bytes:
    """The file's bytes: sorted keys, one row per line."""
    tables = []
    for seller, rows in sorted(document["rows"].items()):
        lines = (f"{_json(name)}:{_json(row)}" for name, row in sorted(rows.items()))
        tables.append(_json(seller) + ":{\n" + ",\n".join(lines) + "\n}")
    head = (f"{_json(key)}:{_json(value)}" for key, value in document.items() if key != "rows")
    body = '"rows":{\n' + ",\n".join(tables) + "\n}"
    return ("{\n" + ",\n".join([*head, body]) + "\n}\n").encode()


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _with_genai(rows: Rows, as_of: date) -> None:
    """Adds cells of genai-prices. Its windows include the output; an input limit is kept where it
    has none."""
    for seller, name, cells, is_own in genai_rows(as_of):
        of_seller = rows.setdefault(seller, {})
        known = {one.lower(): one for one in of_seller}
        if name not in known and not is_own:
            continue
        row = of_seller.setdefault(known.get(name, name), {})
        later = cells.pop("from", None)
        if later and "price" in row:
            row["price"] = row["price"] | {"from": later}
        window = max(cells.pop("window", 0), row.get("max_in", 0), row.get("window", 0))
        if window > 0:
            row["window"] = window
        for key, value in cells.items():
            row.setdefault(key, value)


def _with_hand(rows: Rows, as_of: date) -> None:
    for seller, name, cells in hand_rows():
        row = rows.setdefault(seller, {}).setdefault(name, {})
        source = cells.pop("source")
        if "cannot" in cells:
            cells["cannot"] = sorted({*row.get("cannot", ()), *cells["cannot"]})
            row["can"] = [one for one in row.get("can", ()) if one not in cells["cannot"]]
        only_ends = cells.keys() == {"retires"}
        if "source" not in row:
            row["source"] = source
        elif not only_ends and source not in row["source"]:
            row["source"] = f"{row['source']}; {source}"
        row["read"] = as_of.isoformat()
        row |= cells


def _with_releases(rows: Rows) -> None:
    """A vendor's dated name shows when the model was released; this also holds for the name without
    the date."""
    for seller in VENDORS & rows.keys():
        for name in sorted(rows[seller]):
            found = _DATED.match(name)
            if found is None:
                continue
            try:
                day = date(int(found["y"]), int(found["m"]), int(found["d"])).isoformat()
            except ValueError:
                continue
            rows[seller][name].setdefault("released", day)
            if found["stem"] in rows[seller]:
                rows[seller][found["stem"]].setdefault("released", day)


def _billed_per_prompt(rows: Rows) -> None:
    """Until Gemini 3, a prompt that searches is billed once, however many searches it makes."""
    for name, row in rows.get("google", {}).items():
        if name.startswith(("gemini-2", "gemini-1")) and "search" in row.get("price", {}):
            row["price"]["search_per"] = "prompt"


def main() -> None:
    """The command line. Raises MapError, OSError."""
    parser = argparse.ArgumentParser(description="Writes the table of model facts anew.")
    parser.add_argument(
        "--litellm", required=True, type=Path, help="a wheel of LiteLLM, or its map"
    )
    parser.add_argument("--sha256", help="of that file")
    parser.add_argument("--as-of", required=True, type=date.fromisoformat, help="YYYY-MM-DD")
    parser.add_argument("--out", type=Path, default=BUNDLED)
    args = parser.parse_args()
    document = document_of(read_map(args.litellm, args.sha256), args.as_of)
    args.out.write_bytes(written(document))
    print(f"{args.out}: {sum(len(rows) for rows in document['rows'].values())} models")


if __name__ == "__main__":
    main()
