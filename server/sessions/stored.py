"""The form in which several processes share sessions: bytes, in a version that each of them reads.

A value is a mark ('=', or '?' for a call whose id several answers have used), 16 letters that
identify what it holds, and JSON. Fields that a process does not know are ignored, those that are
missing have their defaults, and a value in another version is none.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard
from server.sessions.sessions import Branch, Changed, Made, Session, Task

_VERSION: Final = 1
_ID_CHARS: Final = 16
# A task with a larger leaderboard, of some 250 models, is stored without it and scored again.
_MOST_BOARD_BYTES: Final = 8_192
_ARRAYS: Final = ("coefficients", "expected_output_tokens", "expected_scores", "variance")
# The current names of leaderboards, in their order.
Names = Callable[[], Sequence[str]]


class Found(NamedTuple):
    """What a value holds. branch: None where it holds a session only. is_unsure: see above."""

    session: Session
    branch: Branch | None
    is_unsure: bool


@dataclass(frozen=True, slots=True)
class Form:
    """Writes and reads values. names: a leaderboard is stored without its names, and read only by a
    process whose leaderboards have the same."""

    names: Names

    def of(self, thing: Changed) -> bytes:
        """The value of a session or a branch. Only that of a call has its task."""
        if isinstance(thing, Session):
            return _value(False, thing.seed, {"session": _session(thing)})
        branch = thing.branch if isinstance(thing, Made) else thing
        said = {
            "model": branch.model,
            "budget_usd": None if branch.budget_usd is None else str(branch.budget_usd),
            "number": branch.number,
            "is_continued": branch.is_continued,
            "task": self._task(branch.task) if isinstance(thing, Made) and branch.task else None,
        }
        is_unsure = isinstance(thing, Made) and thing.is_unsure
        return _value(is_unsure, branch.mark, {"session": _session(branch.session), "branch": said})

    def read(self, value: bytes, known: Callable[[Session], Session], now_s: float) -> Found | None:
        """What a value holds; None where it cannot be read. known: gives the session of this
        process that is the same as the one that was read, or that one itself."""
        try:
            said = orjson.loads(value[1 + _ID_CHARS :])
            if said["v"] != _VERSION:
                return None
            session = known(_read_session(said["session"], now_s))
            branch = said.get("branch")
            mark = int(value[1 : 1 + _ID_CHARS], 16)
            made = None if branch is None else self._branch(branch, session, mark)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation):
            return None
        return Found(session, made, value[:1] == b"?")

    def _branch(self, said: dict[str, Any], session: Session, mark: int) -> Branch:
        budget = said.get("budget_usd")
        task = said.get("task")
        return Branch(
            session,
            str(said["model"]),
            None if budget is None else Decimal(budget),
            None if task is None else self._read_task(task),
            int(said.get("number", 0)),
            is_continued=bool(said.get("is_continued", False)),
            mark=mark,
        )

    def _task(self, task: Task) -> dict[str, Any] | None:
        board = task.board
        if board is None:
            return None
        arrays = {name: _packed(getattr(board, name)) for name in _ARRAYS}
        if sum(len(array or "") for array in arrays.values()) > _MOST_BOARD_BYTES:
            return None
        return {
            "is_marginal": task.is_marginal,
            "names": _digest(board.models),
            "family": board.family.value,
            "eta": board.eta,
            "gamma": board.gamma,
            **arrays,
        }

    def _read_task(self, said: dict[str, Any]) -> Task | None:
        names = tuple(self.names())
        if said["names"] != _digest(names):
            return None
        arrays = {name: _unpacked(said.get(name), len(names)) for name in _ARRAYS}
        coefficients = arrays.pop("coefficients")
        if coefficients is None:
            return None
        board = PromptLeaderboard(
            PreferenceFamily(said["family"]),
            names,
            coefficients,
            said.get("eta"),
            said.get("gamma"),
            **arrays,
        )
        return Task(board, bool(said.get("is_marginal", False)))


def _value(is_unsure: bool, number: int, said: dict[str, Any]) -> bytes:
    mark = b"?" if is_unsure else b"="
    said = {"v": _VERSION, **said}
    return mark + b"%016x" % number + orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)


def _session(session: Session) -> dict[str, Any]:
    return {
        "seed": session.seed,
        "order": session.order,
        "n_branches": session.n_branches,
        "n_requests": session.n_requests,
        "budget_share": session.budget_share,
        "given_usd": None if session.given_usd is None else str(session.given_usd),
    }


def _read_session(said: dict[str, Any], now_s: float) -> Session:
    share, given = said.get("budget_share"), said.get("given_usd")
    return Session(
        int(said["seed"]),
        now_s,
        tuple(str(name) for name in said.get("order", ())),
        int(said.get("n_branches", 0)),
        int(said.get("n_requests", 0)),
        None if share is None else float(share),
        None if given is None else Decimal(given),
    )


@lru_cache(maxsize=8)
def _digest(names: tuple[str, ...]) -> str:
    return hashlib.blake2b("\0".join(names).encode(), digest_size=12).hexdigest()


def _packed(array: FloatArray | None) -> str | None:
    if array is None:
        return None
    return base64.b64encode(np.ascontiguousarray(array, "<f8").tobytes()).decode()


def _unpacked(text: str | None, n: int) -> FloatArray | None:
    """Raises ValueError where it has not n numbers."""
    if text is None:
        return None
    array = np.frombuffer(base64.b64decode(text), "<f8").astype(np.float64)
    if len(array) != n:
        raise ValueError
    return array
