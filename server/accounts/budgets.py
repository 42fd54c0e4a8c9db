"""Determines the windows in which a caller's spend counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from server.auth.authenticator import Caller
from server.config.settings import WindowBudget
from server.ledger.window import WindowSpec, limit_nano


class Budgets:
    """The configured windows, and those of the keys themselves.

    previous: the budgets that these replace. Spend still counts in windows that are no longer
    configured, because they may come back.
    """

    def __init__(self, windows: Sequence[WindowBudget], previous: Budgets | None = None) -> None:
        self._windows = tuple(windows)
        self._known: dict[Caller, tuple[WindowSpec, ...]] = {}
        # Owner -> name -> window, for all windows that were ever asked for.
        self._used: dict[str | None, dict[str, WindowSpec]] = {}
        if previous is not None:
            self._used = {owner: dict(used) for owner, used in previous._used.items()}
        # Whether an entry in progress may know fewer windows than its cost counts in.
        self.have_changed = previous is not None

    @property
    def shared(self) -> tuple[WindowSpec, ...]:
        """The windows that all keys share."""
        return _tightest(
            WindowSpec(None, limit_nano(window.amount_usd), window.window_s)
            for window in self._windows
            if window.per == "global"
        )

    def of(self, caller: Caller) -> tuple[WindowSpec, ...]:
        """The caller's windows, each once, with its smallest amount."""
        known = self._known.get(caller)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[caller] = _tightest(self._specs(caller))
            for spec in known:
                self._used.setdefault(spec.key_name, {})[spec.name] = spec
        return known

    def others(self, caller: Caller, specs: Sequence[WindowSpec]) -> tuple[WindowSpec, ...]:
        """The other windows in which the caller's spend counts, or may count again."""
        known = {spec.name for spec in specs}
        current = {spec.name: spec for spec in self.of(caller)}
        found = self._used.get(None, {}) | self._used.get(caller.name, {}) | current
        return tuple(spec for name, spec in found.items() if name not in known)

    def _specs(self, caller: Caller) -> Iterable[WindowSpec]:
        for window in self._windows:
            whose = None if window.per == "global" else caller.name
            yield WindowSpec(whose, limit_nano(window.amount_usd), window.window_s)
        if caller.limits.budget_usd is not None:
            amount = limit_nano(caller.limits.budget_usd)
            yield WindowSpec(caller.name, amount, caller.limits.window_s)


def _tightest(specs: Iterable[WindowSpec]) -> tuple[WindowSpec, ...]:
    found: dict[str, WindowSpec] = {}
    for spec in specs:
        known = found.get(spec.name)
        if known is None or spec.amount_nano < known.amount_nano:
            found[spec.name] = spec
    return tuple(found.values())
