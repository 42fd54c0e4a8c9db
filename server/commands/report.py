"""Prints the report of graded answers in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from server.commands.outputs import Column, print_table

if TYPE_CHECKING:
    from server.offline.report.findings import Findings, Kind

_MOST_SHARES = 3


def print_report(found: Findings) -> None:
    """Prints what `write_page` writes, without the picture."""
    from server.offline.report import words

    print(words.headline(found))
    for sentence in words.explanation(found):
        print(sentence)
    print()
    _print_models(found)
    _print_offers(found)
    _print_kinds(found)
    print("What is not settled")
    for sentence in [*words.open_questions(found), *words.caution(found)]:
        print(f"- {sentence}")


def _print_models(found: Findings) -> None:
    from server.offline.report import words

    timed = any(one.latency_s is not None for one in found.standings)
    columns: list[Column] = [("model", "left"), "quality", "95%", "USD per 1,000", "95%"]
    columns += ["seconds"] if timed else []
    columns += ["router at 99%", "saved", "95%"]
    rows = []
    for one in found.standings:
        row = [one.model, words.points(_value(one.score.value)), words.points_range(one.score)]
        row += [words.usd(_value(one.usd.value)), words.usd_range(one.usd)]
        row += [words.seconds(one.latency_s)] if timed else []
        row += [words.usd(one.router_usd), words.percent(_value(one.saved.value))]
        rows.append([*row, words.percent_range(one.saved)])
    print_table("The models, each alone, and what the router pays for 99% of its quality",
                columns, rows, sys.stdout)  # fmt: skip


def _print_offers(found: Findings) -> None:
    from server.offline.report import words

    is_set = any(one.usd_per_win is not None for one in found.offers)
    rows = []
    for one in found.offers:
        worth = words.NONE if one.usd_per_win is None else f"{one.usd_per_win:.3g}"
        rows.append([
            f"{one.level:.0%}", words.points(one.score), words.usd(_value(one.usd.value)),
            words.usd_range(one.usd), words.percent(_value(one.saved.value)),
            words.percent_range(one.saved), *([worth] if is_set else []),
        ])  # fmt: skip
    columns = ["quality", "of 100", "USD per 1,000", "95%", "saved", "95%"]
    columns += ["routing.usd_per_win"] if is_set else []
    title = f"What a share of the quality of {found.baseline.model} costs with the router"
    print_table(title, columns, rows, sys.stdout)


def _print_kinds(found: Findings) -> None:
    if not found.kinds:
        return
    columns: tuple[Column, ...] = (("kind of prompt", "left"), "prompts", ("goes to", "left"))
    rows = [(one.name, str(one.n_prompts), _shares(one)) for one in found.kinds]
    print_table("Which prompts go where, at 99% of the quality", columns, rows, sys.stdout)


def _shares(one: Kind) -> str:
    return ", ".join(f"{share:.0%} {model}" for model, share in one.shares[:_MOST_SHARES])


def _value(value: float | None) -> float:
    return 0.0 if value is None else value
