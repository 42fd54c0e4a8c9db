"""The log: lines for people, or JSON objects for machines. No content, no keys."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final, Literal

from server.ledger.attempt import Attempt, usd
from server.process.request_id import CURRENT_REQUEST

LogFormat = Literal["text", "json"]
FORMATS: Final[tuple[LogFormat, ...]] = ("text", "json")
_ATTEMPTS: Final = logging.getLogger("p2l_router.attempts")


class JsonFormatter(logging.Formatter):
    """One object per line: time (RFC 3339), level, logger, message, request_id, and the record's
    `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = CURRENT_REQUEST.get()
        if request_id is not None:
            line["request_id"] = request_id
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            # The exception's message and the source lines of its frames may quote a request.
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def configure(level: str, form: LogFormat) -> None:
    """Configures the log of the whole process, on standard error."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def say_always(message: str) -> None:
    """Writes a line of level info, whatever the configured level is."""
    log = logging.getLogger("p2l_router")
    log.handle(log.makeRecord(log.name, logging.INFO, "", 0, message, (), None))


def log_attempt(row: Attempt) -> None:
    """Writes a line for each attempt at a provider, at level info."""
    if not _ATTEMPTS.isEnabledFor(logging.INFO):
        return
    cost = None if row.cost_pico is None else format(usd(row.cost_pico), "f")
    fields = {
        "request_id": row.request_id,
        "attempt": row.attempt,
        "key": row.key_name,
        "model": row.model,
        "provider": row.provider,
        "served_model": row.served_model,
        "outcome": row.outcome.value,
        "streamed": row.streamed,
        "cost_usd": cost,
        "cost_source": row.cost_source.value,
        "latency_ms": None if row.latency_ms is None else round(row.latency_ms, 1),
    }
    _ATTEMPTS.info(
        "%s attempt %d: %s by %s, %s USD", row.request_id, row.attempt, row.outcome.value,
        row.model, cost, extra={"fields": fields},
    )  # fmt: skip
