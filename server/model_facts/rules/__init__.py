"""The rules by family of models: which parameters they refuse, how they think."""

from __future__ import annotations

from typing import Final

from server.model_facts.rules.anthropic import ANTHROPIC
from server.model_facts.rules.family import Family
from server.model_facts.rules.google import GOOGLE
from server.model_facts.rules.openai import OPENAI
from server.model_facts.rules.others import ALIBABA, DEEPSEEK, MISTRAL, MOONSHOT, XAI, ZAI

FAMILIES: Final[tuple[Family, ...]] = (
    *OPENAI,
    *ANTHROPIC,
    *GOOGLE,
    *XAI,
    *DEEPSEEK,
    *MOONSHOT,
    *MISTRAL,
    *ZAI,
    *ALIBABA,
)


def family_of(name: str) -> Family | None:
    """The rules for a canonical name; None where none are known."""
    return next((family for family in FAMILIES if family.matches(name)), None)
