"""Each key's own taste, by which its leaderboards are moved before the router decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from p2l_model.types import FloatArray, PromptLeaderboard


@dataclass(frozen=True, slots=True)
class OwnTaste:
    """One key's taste. shift: shape (M,), added to the coefficients; eta: added to the raw tie
    parameter, where the family has one; n_votes: the number of votes that it was learnt from."""

    shift: FloatArray
    eta: float
    n_votes: int

    def to_json(self) -> dict[str, Any]:
        """The form in a receipt: what to subtract from its leaderboard to get the original one."""
        return {"shift": self.shift.tolist(), "eta": self.eta, "n_votes": self.n_votes}


@dataclass(slots=True)
class Tastes:
    """The tastes of all keys. models: the leaderboard names that shifts refer to. by_key: tastes by
    the key's name."""

    models: tuple[str, ...] = ()
    by_key: Mapping[str, OwnTaste] = field(default_factory=dict)

    def own(
        self, key_name: str, board: PromptLeaderboard
    ) -> tuple[PromptLeaderboard, OwnTaste | None]:
        """The prompt's leaderboard for this key, and the taste that moved it: None where the key
        has none, or where the checkpoint has changed since."""
        taste = self.by_key.get(key_name)
        if taste is None or board.models != self.models:
            return board, None
        eta = None if board.eta is None else board.eta + taste.eta
        return replace(board, coefficients=board.coefficients + taste.shift, eta=eta), taste
