"""Each key's own taste, by which its leaderboards are moved before the router decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from p2l_model.types import FloatArray, PromptLeaderboard


@dataclass(frozen=True, slots=True)
class OwnTaste:
    """shift: (M,) added to the coefficients; eta: added to the raw tie parameter, where there is
    one; n_votes: they were learnt from."""

    shift: FloatArray
    eta: float
    n_votes: int

    def to_json(self) -> dict[str, Any]:
        """As a receipt holds it: what must be taken off its leaderboard to have the model's."""
        return {"shift": self.shift.tolist(), "eta": self.eta, "n_votes": self.n_votes}


@dataclass(slots=True)
class Tastes:
    """models: those of the leaderboards that shifts are for. by_key: by the key's name."""

    models: tuple[str, ...] = ()
    by_key: Mapping[str, OwnTaste] = field(default_factory=dict)

    def own(
        self, key_name: str, board: PromptLeaderboard
    ) -> tuple[PromptLeaderboard, OwnTaste | None]:
        """The key's leaderboard of the prompt, and what moved it: None where nothing is known of
        the key, or where another checkpoint has come since."""
        taste = self.by_key.get(key_name)
        if taste is None or board.models != self.models:
            return board, None
        eta = None if board.eta is None else board.eta + taste.eta
        return replace(board, coefficients=board.coefficients + taste.shift, eta=eta), taste
