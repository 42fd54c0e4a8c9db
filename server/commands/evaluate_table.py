"""The report of `p2l-router evaluate` as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_DIFFERENCE = "  difference [95% interval]"
_WIDTH = 18


def table(report: dict[str, Any]) -> str:
    """The table: all votes and each source, against the marginal leaderboard and, where the report
    has them, against a leaderboard per category and another checkpoint."""
    lines = [f"{report['n']} votes, {report['n_skipped']} skipped (unknown models)"]
    lines += _own(report)
    if "per_category_baseline" in report:
        lines += _per_category(report)
    if "comparison" in report:
        lines += _comparison(report["comparison"])
    return "\n".join(lines)


def _own(report: dict[str, Any]) -> Iterator[str]:
    yield _cells("", "prompts", "accuracy", "ECE", "log-loss", "marginal") + _DIFFERENCE
    for name, part in _parts(report):
        measured = (_number(part["accuracy"], 3), _number(part["ece"], 3))
        losses = (_number(part["log_loss"]), _number(part["baseline"]["log_loss"]))
        yield _cells(name, str(part["n_prompts"]), *measured, *losses) + _difference(part)


def _per_category(report: dict[str, Any]) -> Iterator[str]:
    told = report["per_category_baseline"]
    yield ""
    yield (
        f"against {told['n_categories']} leaderboards, one per category, which is told "
        f"({told['n_unseen']} votes of categories not trained on)"
    )
    yield _cells("", "prompts", "log-loss", "category") + _DIFFERENCE
    for name, part in _parts(report):
        told = part["per_category_baseline"]
        losses = (_number(part["log_loss"]), _number(told["log_loss"]))
        yield _cells(name, str(part["n_prompts"]), *losses) + _difference(told)


def _comparison(comparison: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield (
        f"against {comparison['checkpoint']}: {comparison['metric']} of the {comparison['n']} "
        f"votes known to both, {comparison['n_skipped']} skipped"
    )
    yield _cells("", "prompts", "first", "second") + _DIFFERENCE
    for name, part in _parts(comparison):
        losses = (_number(part["log_loss"]["first"]), _number(part["log_loss"]["second"]))
        yield _cells(name, str(part["n_prompts"]), *losses) + _difference(part)


def _parts(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "all", report
    yield from report["by_source"].items()


def _cells(name: str, *cells: str) -> str:
    return f"{name:{_WIDTH}}" + "".join(f"{cell:>10}" for cell in cells)


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _difference(part: dict[str, Any]) -> str:
    if part["delta_log_loss"] is None:
        return "  -"
    low, high = part["delta_ci95"]
    return f"  {part['delta_log_loss']:+.4f} [{low:+.4f}, {high:+.4f}]"
