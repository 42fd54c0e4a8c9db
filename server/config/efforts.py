"""Checks the efforts that a configuration lists for a model against the facts about it."""

from __future__ import annotations

from server.config.file import ConfigError
from server.config.settings import ModelSettings
from server.model_facts import EFFORTS, Effort, ModelFacts


def check_efforts(name: str, model: ModelSettings, facts: ModelFacts) -> None:
    """Raises ConfigError for an effort that the model does not take, by the facts about it."""
    taken = efforts_taken(facts)
    wrong = [effort for effort in model.efforts or () if effort not in taken]
    if not wrong:
        return
    where = f"models.{name}.efforts"
    if facts.thinking.use == "never":
        raise ConfigError(f"{where}: {name} never thinks and takes no effort: leave efforts out")
    if not taken:
        raise ConfigError(f"{where}: {name} cannot be asked for an effort: leave efforts out")
    raise ConfigError(
        f"{where}: {name} does not take {', '.join(wrong)}: use some of {', '.join(taken)}, or set "
        f"models.{name}.facts.thinking where the table of facts is wrong"
    )


def efforts_taken(facts: ModelFacts) -> tuple[Effort, ...]:
    """The efforts that a model can be asked for, lowest first; all of them where they are unknown
    or set by a number of tokens."""
    thinking = facts.thinking
    if thinking.use == "never":
        return ()
    own = thinking.efforts
    if own is None or (len(own) == 0 and "budget" in thinking.kinds):
        own = EFFORTS[1:]
    switch = thinking.off not in ("cannot", "none") and (
        thinking.off != "unknown" or thinking.use == "unknown"
    )
    return ("none", *own) if switch and "none" not in own else own
