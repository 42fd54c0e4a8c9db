"""The progress of a training run, and its log: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Reporter(Protocol):
    """Receives the progress."""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        """Reports done of total of a stage; note: further information, such as the loss."""


def log_line(work: Path, line: Mapping[str, Any]) -> None:
    """Appends the line to log.jsonl in the run's work folder."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(dict(line)) + "\n")
