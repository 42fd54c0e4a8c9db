"""Records the health of models and providers: which models to leave alone, why and for how long."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from router.catalog import ModelCard
from server.config.settings.breaker_rules import BreakerRules
from server.health.breaker import Breaker, Permit
from server.health.cooldown import Cooldowns
from server.health.retry import RetryBudget
from server.upstream.errors import (
    Stage,
    UpstreamError,
    UpstreamModelRefusedError,
    UpstreamRateLimitedError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)

# The longest wait that a caller is told, for a model that only another configuration can bring
# back.
_LONGEST_WAIT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Resting:
    """A model that rests. wait_s: for how long, in seconds. rate_limited: its provider asked for it
    (429). timed_out: its last failure was a timeout."""

    reason: str
    wait_s: float
    rate_limited: bool = False
    timed_out: bool = False


class _Watch:
    """A context that records how its block ended: with which error, or with none."""

    __slots__ = ("_ended",)

    def __init__(self, ended: Callable[[BaseException | None], None]) -> None:
        self._ended = ended

    def __enter__(self) -> None:
        """Does nothing: only the end counts."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._ended(error)


class Health:
    """The health of all models and providers. The columns of a model rest together. clock:
    monotonic seconds. chance: returns a uniform number in [0, 1)."""

    def __init__(
        self, rules: BreakerRules, clock: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self.retries = RetryBudget()
        self.clock = clock
        self.chance = chance
        self._cooldowns = Cooldowns(clock)
        self._rules = rules
        self._models: defaultdict[str, Breaker] = defaultdict(self._new_breaker)
        self._providers: defaultdict[str, Breaker] = defaultdict(self._new_breaker)
        # By model: its last failure.
        self._last: dict[str, UpstreamError] = {}
        # By model: what its provider refused it for, and the time until which it is not asked
        # again.
        self._refused: dict[str, tuple[str, float]] = {}
        # Nothing has failed since the last check, which found no fault.
        self._all_well = True

    def resting(self, cards: Iterable[ModelCard]) -> dict[str, Resting]:
        """The models among the cards that rest now, by name."""
        if self._all_well:
            return {}
        now = self.clock()
        asked_for = self._cooldowns.active()
        self._all_well = not asked_for and not self._refused and self._are_closed()
        found = {}
        for card in cards:
            resting = self._resting(card, asked_for.get(card.base), now)
            if resting is not None:
                found[card.name] = resting
        return found

    def watching(self, card: ModelCard) -> AbstractContextManager[None]:
        """A context around one attempt, which records its outcome."""
        now = self.clock()
        model = self._models[card.base].begin(now)
        provider = self._providers[card.provider].begin(now)
        return _Watch(partial(self._ended, card, model, provider))

    def _ended(
        self, card: ModelCard, model: Permit, provider: Permit, error: BaseException | None
    ) -> None:
        if error is None or isinstance(error, UpstreamRejectedError):
            # A fault of the caller's is no failure of the provider.
            self._succeeded(card, model, provider)
        elif isinstance(error, UpstreamModelRefusedError):
            self._succeeded(card, model, provider)
            self._rest_refused(card, error)
        elif isinstance(error, UpstreamError):
            self._failed(card, model, provider, error)
        else:
            self._models[card.base].abandon(model)
            self._providers[card.provider].abandon(provider)

    def _rest_refused(self, card: ModelCard, error: UpstreamModelRefusedError) -> None:
        """The provider is healthy; this model may have to rest nevertheless."""
        if error.lasts:
            self._refused[card.base] = f"{error.message}: change the configuration", math.inf
        elif error.retry_after_s is not None:
            self._refused[card.base] = error.message, self.clock() + error.retry_after_s
        else:
            return
        self._all_well = False
        self._last[card.base] = error

    @property
    def rules(self) -> BreakerRules:
        """The current rules."""
        return self._rules

    def configured_anew(self, rules: BreakerRules | None = None) -> None:
        """Applies a new configuration: permanent refusals are tried again. rules: the new rules of
        the breakers; None: unchanged."""
        self._refused.clear()
        if rules is not None:
            self._rules = rules
            for breaker in (*self._models.values(), *self._providers.values()):
                breaker.follow(rules, self.clock())

    def broke(self, card: ModelCard) -> None:
        """Records that a stream of the model failed after it had begun."""
        now = self.clock()
        self._all_well = False
        breaker = self._models[card.base]
        breaker.fail(breaker.begin(now), now)

    def states(self) -> dict[str, dict[str, str]]:
        """The state of every breaker that has counted anything, for metrics: kind -> name ->
        state."""
        now = self.clock()
        kinds = {"model": self._models, "provider": self._providers}
        return {
            kind: {name: breaker.state(now).value for name, breaker in breakers.items()}
            for kind, breakers in kinds.items()
        }

    def _new_breaker(self) -> Breaker:
        return Breaker(self._rules, self.chance)

    def _are_closed(self) -> bool:
        breakers = (*self._models.values(), *self._providers.values())
        return all(breaker.is_closed for breaker in breakers)

    def _resting(self, card: ModelCard, asked_for_s: float | None, now: float) -> Resting | None:
        last = self._last.get(card.base)
        reason, until = self._refused.get(card.base, ("", -math.inf))
        if until > now:
            return Resting(reason, min(until - now, _LONGEST_WAIT_S))
        self._refused.pop(card.base, None)
        if asked_for_s is not None:
            limited = isinstance(last, UpstreamRateLimitedError)
            return Resting("its provider asked for a pause", asked_for_s, rate_limited=limited)
        for what, breaker in (
            ("its provider", self._providers.get(card.provider)),
            ("it", self._models.get(card.base)),
        ):
            wait_s = 0.0 if breaker is None else breaker.wait_s(now)
            if wait_s > 0:
                late = isinstance(last, UpstreamTimeoutError)
                return Resting(f"{what} failed too often", wait_s, timed_out=late)
        return None

    def _succeeded(self, card: ModelCard, model: Permit, provider: Permit) -> None:
        now = self.clock()
        self._models[card.base].succeed(model, now)
        self._providers[card.provider].succeed(provider, now)

    def _failed(
        self, card: ModelCard, model: Permit, provider: Permit, error: UpstreamError
    ) -> None:
        now = self.clock()
        self._all_well = False
        self._last[card.base] = error
        limited = isinstance(error, UpstreamRateLimitedError)
        if limited or error.retry_after_s is not None:
            self._cooldowns.start(card.base, error.retry_after_s)
        if limited or error.stage is Stage.WAITING:
            # The model answered, or was never asked: this is neither a success nor a failure.
            self._models[card.base].abandon(model)
            self._providers[card.provider].abandon(provider)
            return
        self._models[card.base].fail(model, now)
        if error.stage is Stage.CONNECTING:
            self._providers[card.provider].fail(provider, now)
        else:
            self._providers[card.provider].succeed(provider, now)
