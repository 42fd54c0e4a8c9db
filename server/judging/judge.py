"""Asks a judge which of two answers is better, and reads its verdict.

The judge sees the request and two answers without names. Each pair is judged in both orders
(Zheng et al. 2023, arXiv 2306.05685, section 3.4); verdicts that disagree count half to each side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from p2l_model.placement.features import features
from p2l_model.placement.names import parse
from router.catalog import ModelCard

Better = Literal["first", "second", "tie"]
_PROMPT: Final = Path(__file__).with_name("judge_prompt.md")
_VERDICT: Final = re.compile(r'"better"\s*:\s*"(first|second|tie)"')
_VALUES: Final[Mapping[str, float]] = {"first": 1.0, "tie": 0.5, "second": 0.0}
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "better": {"type": "string", "enum": ["first", "second", "tie"]},
    },
    "required": ["reason", "better"],
    "additionalProperties": False,
}
# Families whose models come from one company.
_COMPANY: Final[Mapping[str, str]] = {"gemma": "gemini", "codex": "gpt"}
JSON_SCHEMA: Final = "json_schema"


class Instruction(NamedTuple):
    """What a judge is told. version: recorded with each grade."""

    version: str
    text: str


@cache
def instruction() -> Instruction:
    """The instruction that the product ships."""
    first, _, rest = _PROMPT.read_text("utf-8").partition("\n")
    return Instruction(first.removeprefix("version:").strip(), rest.strip())


def family_of(card: ModelCard) -> str:
    """The family of a model, by the name that leaderboards have for it: `gpt`, `claude`, `qwen`."""
    family = features(parse(card.leaderboard_name).model).family
    return _COMPANY.get(family, family)


def judge_for(
    model: str, reference: str | None, judges: Sequence[str], families: Mapping[str, str]
) -> str:
    """The first judge that is of neither family, else the first that is not of the model's own,
    else the first. judges: at least one, the preferred one first; families: by catalogue name."""
    own = families[model]
    both = {own} if reference is None else {own, families[reference]}
    neutral = [judge for judge in judges if families[judge] not in both]
    other = [judge for judge in judges if families[judge] != own]
    return (neutral or other or list(judges))[0]


def judge_body(
    messages: Sequence[Mapping[str, Any]], answers: tuple[str, str], card: ModelCard, cap: int
) -> dict[str, Any]:
    """The request to a judge, without its model. messages: the conversation that was answered;
    answers: in the order in which they are shown; cap: the judge's output limit in tokens."""
    shown = {
        "request": _conversation(messages),
        "first_answer": answers[0],
        "second_answer": answers[1],
    }
    body: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": instruction().text},
            {"role": "user", "content": json.dumps(shown, ensure_ascii=False, indent=1)},
        ],
        "max_completion_tokens": cap,
    }
    if card.capabilities is not None and JSON_SCHEMA in card.capabilities:
        schema = {"name": "verdict", "strict": True, "schema": dict(_SCHEMA)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def verdict_of(text: str) -> float | None:
    """The verdict in a judge's answer: 1 where the first answer is better, 0 for the second, 0.5
    for a tie; None where it gives none."""
    found = _VERDICT.findall(text)
    return _VALUES[found[-1]] if found else None


def combined(shown_first: float, shown_second: float) -> float:
    """The score of an answer against the reference from its verdicts in both orders, each 1 for a
    win, 0.5 for a tie and 0 for a loss: verdicts that flip with the order are a tie."""
    return (shown_first + shown_second) / 2


def winner_of(score: float) -> str:
    """The winner between an answer (model_a) and the reference (model_b)."""
    if score > 0.5:
        return "model_a"
    return "model_b" if score < 0.5 else "tie"


def _conversation(messages: Sequence[Mapping[str, Any]]) -> str:
    said = [(str(one.get("role") or "user"), _text(one.get("content"))) for one in messages]
    if len(said) == 1:
        return said[0][1]
    return "\n\n".join(f"[{role}]\n{text}" for role, text in said)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text if isinstance(text, str) else "[not text]" for text in texts)
