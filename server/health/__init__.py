"""The health of models and providers: breakers, Retry-After, the retry budget. No I/O."""

from server.config.settings.breaker_rules import BreakerRules
from server.health.breaker import BreakerState
from server.health.health import Health, Resting
from server.health.retry import full_jitter_s

__all__ = ["BreakerRules", "BreakerState", "Health", "Resting", "full_jitter_s"]
