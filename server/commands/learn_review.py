"""`p2l-router learn review`: shows pairs of answers without names, takes a person's votes, and says
how well the judge agrees with them."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

if TYPE_CHECKING:
    from server.offline.learn.agreement import Agreement, Pair

N_PAIRS: Final = 30
_PLACES: Final = {"1": 0, "2": 1, "t": None}
_ASK: Final = "Which is better? 1, 2, t for a tie, s to skip, q to stop: "
# Control characters other than a tab and the ends of lines.
_CONTROL: Final = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# More of a text than this does not help on a page.
_MOST_CHARS: Final = 6_000


def run_review(args: argparse.Namespace) -> int:
    """Runs the review; returns the exit status. Raises DataError."""
    from server.offline.learn.agreement import agreement, pairs_of, votes_of

    folder = Path(args.out)
    pairs = pairs_of(folder, args.pairs, args.seed)
    console = Console(stderr=True, highlight=False)
    for number, pair in enumerate(pairs, 1):
        _show(console, pair, f"{number} of {len(pairs)}")
        said = _asked()
        if said == "q":
            break
        if said != "s":
            _keep(folder, pair, pair.winner_shown(_PLACES[said]))
    found = agreement(votes_of(folder))
    print(json.dumps(found.to_json()) if args.json else "\n".join(_lines(found)))
    return 0


def _show(console: Console, pair: Pair, title: str) -> None:
    console.clear()
    console.print(Panel(Text(_printed(pair.prompt)), title=f"Request {title}"))
    for place, text in enumerate(pair.shown, 1):
        console.print(Panel(Text(_printed(text)), title=f"Answer {place}"))


def _printed(text: str) -> str:
    """The beginning of a text, without what a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text[:_MOST_CHARS])


def _asked() -> str:
    """What the person says; the end of the input stops."""
    while True:
        print(_ASK, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        said = line.strip().lower()[:1] if line else "q"
        if said in _PLACES or said in ("s", "q"):
            return said


def _keep(folder: Path, pair: Pair, winner: str) -> None:
    from server.offline.learn.agreement import VOTES

    row: dict[str, Any] = {
        "prompt_id": pair.prompt_id,
        "model": pair.model,
        "person": winner,
        "judge": pair.winner,
    }
    with (folder / VOTES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _lines(found: Agreement) -> list[str]:
    if found.kappa is None or found.ci95 is None or found.observed is None:
        return [f"{found.n} votes: too few, or too alike, to tell whether you agree with the judge"]
    low, high = found.ci95
    lines = [
        f"{found.n} votes: you and the judge agree on {found.observed:.0%}; Cohen's kappa "
        f"{found.kappa:.2f} [{low:.2f}, {high:.2f}]"
    ]
    if found.is_poor:
        lines.append(
            "warning: below 0.4 the judge's grades say little about what you want: choose another "
            "--judge, or grade by a checker"
        )
    return lines
