"""Notices a share of second answers that comes to nothing."""

from __future__ import annotations

from collections.abc import Iterator

from server.config.settings import Settings


def second_answers(settings: Settings) -> Iterator[str]:
    """A sentence where learning.share is set and something that it needs is not."""
    rules = settings.learning
    if rules.share == 0:
        return
    missing = []
    if rules.judge is None:
        missing.append("learning.judge, the model that grades")
    if rules.usd_per_day == 0:
        missing.append("learning.usd_per_day, what second answers and grades may cost in a day")
    if missing:
        needed = " and ".join(missing)
        yield f"learning.share is {rules.share:g}, but no request is asked twice: set {needed}"
