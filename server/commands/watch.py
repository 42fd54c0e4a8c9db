"""`p2l-router watch`: checks whether live feedback still agrees with the predictions."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from server.build import settings_from
from server.catalogue.cards import build_catalogue
from server.commands.flags import add_config
from server.storage.rows import micros
from server.tasks.learn_local import stored_layers

if TYPE_CHECKING:
    from p2l_model.analysis.drift import DriftReport, Limits
    from p2l_model.types import PromptLeaderboard
    from server.config.settings import Settings

_ALARMS: Final = ("worse_than_marginal", "miscalibrated")
_CHANGED: Final = "model_changed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_config(parser)
    parser.add_argument("--hours", type=float, default=168.0, metavar="H",
                        help="Look at the feedback of the last H hours (default: 168, a "
                             "week).")  # fmt: skip
    parser.add_argument("--min-comparisons", type=int, default=50, metavar="N",
                        help="Raise no alarm with fewer comparisons than this (default: "
                             "50).")  # fmt: skip
    parser.add_argument("--max-ece", type=float, default=0.05, metavar="E",
                        help="Raise an alarm above this calibration error (default: "
                             "0.05).")  # fmt: skip
    parser.add_argument("--every", type=float, metavar="S",
                        help="Look again every S seconds (default: look once).")  # fmt: skip
    parser.add_argument("--port", type=int, metavar="P",
                        help="Serve Prometheus metrics at this port of 127.0.0.1. It needs "
                             "--every.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns 1 where an alarm is raised. Raises P2LError, ConfigError."""
    from p2l_model.analysis.drift import Limits
    from p2l_model.errors import DataError

    if args.hours <= 0 or (args.every is not None and args.every <= 0):
        raise DataError("--hours and --every must be above 0")
    if args.port is not None and args.every is None:
        raise DataError("--port needs --every, which keeps the process running")
    limits = Limits(args.max_ece, args.min_comparisons)
    settings = settings_from(args.config)
    gauges = None if args.port is None else Gauges(args.port)
    while True:
        report, skipped, changed = _look(settings, _marginal(settings), args.hours, limits)
        alarms = [*report.alarms, *([_CHANGED] if changed else [])]
        if gauges is not None:
            gauges.show(report, skipped, alarms)
        found = report.to_json() | {"n_skipped": skipped, "hours": args.hours}
        found |= {"alarms": alarms, "changed_models": changed}
        text = "\n".join([_text(report, skipped), *_said_of(changed), _said(alarms)])
        print(json.dumps(found) if args.json else text, flush=True)
        if args.every is None:
            return 1 if alarms else 0
        time.sleep(args.every)


class Gauges:
    """The last report as Prometheus metrics, in a registry of their own."""

    def __init__(self, port: int) -> None:
        from prometheus_client import CollectorRegistry, Gauge, start_http_server

        registry = CollectorRegistry()

        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"p2l_drift_{name}", what, labels, registry=registry)

        self._numbers = {
            "log_loss": gauge("log_loss", "Binary log-loss of the predictions on live feedback."),
            "log_loss_marginal": gauge(
                "log_loss_marginal", "Binary log-loss of the marginal leaderboard on live feedback."
            ),
            "ece": gauge("ece", "Calibration error of the predictions on decisive live feedback."),
            "n": gauge("comparisons", "Comparisons that the figures rest on."),
        }
        self._skipped = gauge(
            "skipped", "Feedback that was left out, because it is not a comparison with a receipt."
        )
        self._alarm = gauge("alarm", "1 while the alarm is raised, else 0.", "alarm")
        start_http_server(port, addr="127.0.0.1", registry=registry)

    def show(self, report: DriftReport, skipped: int, alarms: Sequence[str]) -> None:
        """Shows a report. Unknown values are NaN."""
        for name, metric in self._numbers.items():
            value = getattr(report, name)
            metric.set(float("nan") if value is None else value)
        self._skipped.set(skipped)
        for name in (*_ALARMS, _CHANGED):
            self._alarm.labels(name).set(1 if name in alarms else 0)


def _look(
    settings: Settings, marginal: PromptLeaderboard, hours: float, limits: Limits
) -> tuple[DriftReport, int, list[str]]:
    """The report, how much feedback was left out, and the models whose grades have changed."""
    from p2l_model.analysis.drift import drift
    from server.offline.stored_feedback import judged_feedback, open_database

    database = open_database(settings.storage)
    cards = build_catalogue(settings)
    names = {name: card.leaderboard_name for card in cards for name in (card.base, card.name)}
    try:
        since_s = time.time() - hours * 3600
        judged, skipped = judged_feedback(database, marginal, names, since_s)
        layers = stored_layers(database)
    finally:
        database.close()
    noticed = {} if layers is None else layers.changed
    changed = sorted(name for name, at_us in noticed.items() if at_us >= micros(since_s))
    return drift(judged, limits), skipped, changed


def _marginal(settings: Settings) -> PromptLeaderboard:
    from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
    from p2l_model.engine.scorer import FixedScorer

    if settings.scorer.fixed is not None:
        fixed = FixedScorer(settings.scorer.fixed).marginal
        if fixed is not None:
            return fixed
    return load_checkpoint(resolve_checkpoint(settings.scorer.checkpoint_name)).marginal


def _text(report: DriftReport, skipped: int) -> str:
    if report.log_loss is None or report.difference is None or report.difference_ci95 is None:
        return f"no comparisons ({skipped} other pieces of feedback)"
    low, high = report.difference_ci95
    ece = "-" if report.ece is None else f"{report.ece:.3f} (by chance {report.ece_by_chance:.3f})"
    lines = [
        f"{report.n} comparisons, {report.n_decisive} decisive, {skipped} left out",
        f"log-loss {report.log_loss:.4f}, marginal {report.log_loss_marginal:.4f}: "
        f"{report.difference:+.4f} [{low:+.4f}, {high:+.4f}]",
        f"ECE {ece}",
    ]
    return "\n".join(lines)


def _said_of(changed: Sequence[str]) -> list[str]:
    return [f"{name}: its grades are not what they were; it is learnt anew" for name in changed]


def _said(alarms: Sequence[str]) -> str:
    return "ALARM: " + ", ".join(alarms) if alarms else "no alarm"
