"""Reads recorded jobs from the ledger and from receipts, which hold no texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import Row, select

from router.receipt_form import unfold_attempts
from server.ledger.attempt import Outcome, usd
from server.model_facts.types import EFFORTS
from server.offline.jobs.line import JobRequest, RecordedBoard
from server.storage.database import Database
from server.storage.receipts import DAMAGED, leaderboard_names, stored_leaderboard
from server.storage.rows import MICRO
from server.storage.schema import attempts, receipts
from server.storage.session_rows import session_key

# The number of requests that are read together.
_CHUNK: Final = 500
_DECIMALS: Final = 5
_HASH_BYTES: Final = 16
_PARTS: Final = ("cached_tokens", "cache_write_tokens", "cache_write_1h_tokens")


@dataclass(slots=True)
class Left:
    """What an export has left out: requests that no model answered, or whose tokens are unknown,
    and their cost; and requests that belong to no session."""

    unanswered: int = 0
    unanswered_usd: Decimal = Decimal(0)
    alone: int = 0


@dataclass(slots=True)
class _Seen:
    """What has been written of a session. boards: the hash of each branch's last leaderboard."""

    began_us: int
    boards: dict[int, bytes] = field(default_factory=dict)


def recorded_jobs(
    database: Database,
    since_us: int = 0,
    left: Left | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Iterator[JobRequest]:
    """Yields the requests since then in the order in which they were sent. left: receives what is
    left out. Blocks. Raises StorageError."""
    secret = bytes.fromhex(session_key(database))
    left = Left() if left is None else left
    ids = _ids(database, since_us)
    with database.begin() as connection:
        names = leaderboard_names(connection)
    writer = _Writer(secret, names, left)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        rows, documents = _read(database, chunk)
        for request_id in chunk:
            found = writer.request(rows[request_id], documents.get(request_id))
            if found is not None:
                yield found
        on_progress(min(start + _CHUNK, len(ids)), len(ids))


def _ids(database: Database, since_us: int) -> list[str]:
    """The ids of requests, by their first attempt."""
    query = (
        select(attempts.c.request_id)
        .where(attempts.c.settled_at.is_not(None), attempts.c.started_at >= since_us)
        .order_by(attempts.c.started_at, attempts.c.request_id)
    )
    with database.begin() as connection:
        return list(dict.fromkeys(connection.execute(query).scalars()))


def _read(
    database: Database, ids: Sequence[str]
) -> tuple[dict[str, list[Row[Any]]], dict[str, tuple[str, str]]]:
    """The attempts of requests, and their receipts with the version of what they share."""
    tries = (
        select(attempts)
        .where(attempts.c.request_id.in_(ids), attempts.c.settled_at.is_not(None))
        .order_by(attempts.c.attempt)
    )
    kept = select(receipts.c.request_id, receipts.c.document, receipts.c.catalogue_version).where(
        receipts.c.request_id.in_(ids)
    )
    rows: dict[str, list[Row[Any]]] = {}
    with database.begin() as connection:
        for row in connection.execute(tries):
            rows.setdefault(row.request_id, []).append(row)
        documents = {row[0]: (row[1], row[2]) for row in connection.execute(kept)}
    return rows, documents


class _Writer:
    """Makes lines of rows, one request after the other."""

    def __init__(self, secret: bytes, names: Mapping[str, list[str] | None], left: Left) -> None:
        self._secret = secret
        self._names = names
        self._left = left
        self._sessions: dict[str, _Seen] = {}
        self._began_us: int | None = None

    def request(
        self, tries: Sequence[Row[Any]], stored: tuple[str, str] | None
    ) -> JobRequest | None:
        """The line of a request; None where it is left out."""
        receipt = _Receipt(stored, self._names)
        session = self._session(tries, receipt)
        cost_usd = _cost(tries)
        answered = next(
            (r for r in reversed(tries) if r.outcome == Outcome.ANSWERED and r.prompt_tokens), None
        )
        if session is None:
            self._left.alone += 1
            return None
        if answered is None:
            self._left.unanswered += 1
            self._left.unanswered_usd += cost_usd or Decimal(0)
            return None
        return self._line(session, tries, answered, cost_usd, receipt)

    def _session(self, tries: Sequence[Row[Any]], receipt: _Receipt) -> str | None:
        """The hash of the session; one without a name is known by the seed that its requests
        share."""
        named = next((str(r.session) for r in tries if r.session is not None), None)
        if named is not None or receipt.seed is None:
            return named
        return self._hash("seed", tries[0].key_name, str(receipt.seed))

    def _line(
        self,
        session: str,
        tries: Sequence[Row[Any]],
        answered: Row[Any],
        cost_usd: Decimal | None,
        receipt: _Receipt,
    ) -> JobRequest:
        started_us = int(tries[0].started_at)
        if self._began_us is None:
            self._began_us = started_us
        seen = self._sessions.setdefault(session, _Seen(started_us))
        budget, given = answered.budget_pico, answered.session_budget_pico
        return JobRequest(
            session=session,
            key=self._hash("key", answered.key_name),
            branch=receipt.branch,
            began_s=(seen.began_us - self._began_us) / MICRO,
            at_s=(started_us - seen.began_us) / MICRO,
            model=answered.model,
            routed=bool(answered.routed),
            effort=receipt.effort,
            effort_sent=receipt.effort_sent,
            **_tokens(answered),
            tool_loop=receipt.tool_loop,
            new_words=receipt.new_words,
            scored=receipt.scored,
            attempts=len(tries),
            cost_usd=cost_usd,
            budget_usd=None if budget is None else usd(budget),
            session_budget_usd=None if given is None else usd(given),
            win_rate=receipt.win_rate,
            needs=receipt.needs,
            max_output_tokens=receipt.max_output_tokens,
            leaderboard=_news(seen, receipt),
        )

    def _hash(self, *said: str) -> str:
        text = "\0".join(said).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._secret, digest_size=_HASH_BYTES).hexdigest()


class _Receipt:
    """The parts of a receipt that a line has. What a damaged one or none says is unknown."""

    def __init__(
        self, stored: tuple[str, str] | None, names: Mapping[str, list[str] | None]
    ) -> None:
        document: dict[str, Any] = {}
        last: dict[str, Any] = {}
        board = None
        if stored is not None:
            try:
                document = orjson.loads(stored[0])
                last = unfold_attempts(document)[-1]
                board = stored_leaderboard(document, names.get(stored[1]))
            except DAMAGED:
                document, last = {}, {}
        place = document.get("session") or {}
        request = last.get("request") or {}
        shape = request.get("shape") or {}
        scoring, effort, sent = document.get("scoring"), document.get("effort"), last.get("effort")
        # A seed of the request's own tells nothing of its session.
        self.seed = None if place.get("seeded") else document.get("seed")
        self.branch = int(place.get("branch") or 0)
        self.tool_loop = bool(place.get("tool_loop") or request.get("kept") or scoring == "kept")
        self.new_words = bool(place.get("new_words", not self.tool_loop))
        self.scored = scoring == "prompt"
        self.effort = next((one for one in EFFORTS if one == effort), None)
        self.effort_sent = next((one for one in EFFORTS if one == sent), None)
        self.win_rate = (last.get("decision") or {}).get("win_rate")
        self.needs = tuple(sorted(shape.get("needs") or ()))
        self.max_output_tokens = shape.get("max_output_tokens")
        self.board = board


def _news(seen: _Seen, receipt: _Receipt) -> RecordedBoard | None:
    """The leaderboard, where it is not that of the branch's line before."""
    board = receipt.board
    if board is None:
        return None
    names = board["models"]
    columns = {name: board.get(name) for name in ("expected_output_tokens", "expected_scores")}
    parts = [board["family"], names, board["coefficients"], *columns.values()]
    digest = hashlib.blake2b(orjson.dumps(parts), digest_size=_HASH_BYTES).digest()
    if seen.boards.get(receipt.branch) == digest:
        return None
    seen.boards[receipt.branch] = digest
    return RecordedBoard(
        family=board["family"],
        coefficients=_named(names, board["coefficients"]) or {},
        eta=board["eta"],
        gamma=board["gamma"],
        output_tokens=_named(names, columns["expected_output_tokens"]),
        scores=_named(names, columns["expected_scores"]),
    )


def _named(names: Sequence[str], column: Sequence[float | None] | None) -> dict[str, float] | None:
    if column is None:
        return None
    pairs = zip(names, column, strict=True)
    return {name: round(value, _DECIMALS) for name, value in pairs if value is not None}


def _tokens(row: Row[Any]) -> dict[str, Any]:
    """The tokens of an answer; a provider whose parts exceed the whole is not believed."""
    n_input, n_output = int(row.prompt_tokens), int(row.completion_tokens or 0)
    left = n_input
    parts: dict[str, int] = {}
    for name in _PARTS:
        parts[name] = min(left, int(getattr(row, name) or 0))
        left -= parts[name]
    return {
        "input_tokens": n_input,
        **parts,
        "output_tokens": n_output,
        "thinking_tokens": min(n_output, int(row.reasoning_tokens or 0)),
    }


def _cost(tries: Sequence[Row[Any]]) -> Decimal | None:
    """The cost of all attempts; None where one of them is unknown."""
    costs = [row.cost_pico for row in tries]
    return None if None in costs else usd(sum(map(int, costs)))
