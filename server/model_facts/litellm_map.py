"""Reads LiteLLM's map of models (MIT) from its wheel or from a file; its code is never run."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from server.model_facts.litellm_price import price_cell
from server.model_facts.names import canonical
from server.model_facts.prune import pruned

MAP_IN_WHEEL: Final = "litellm/model_prices_and_context_window_backup.json"
# LiteLLM's provider -> (our seller, the prefix of its keys).
_SELLERS: Final = {
    "openai": ("openai", ""),
    "anthropic": ("anthropic", ""),
    "gemini": ("google", "gemini/"),
    "xai": ("xai", "xai/"),
    "deepseek": ("deepseek", "deepseek/"),
    "moonshot": ("moonshot", "moonshot/"),
    "mistral": ("mistral", "mistral/"),
    "zai": ("zai", "zai/"),
    "dashscope": ("alibaba", "dashscope/"),
    "cohere_chat": ("cohere", ""),
    "minimax": ("minimax", "minimax/"),
    "azure": ("azure", "azure/"),
    "azure_ai": ("azure", "azure_ai/"),
    "groq": ("groq", "groq/"),
    "cerebras": ("cerebras", "cerebras/"),
    "together_ai": ("together", "together_ai/"),
    "fireworks_ai": ("fireworks", "fireworks_ai/"),
    "deepinfra": ("deepinfra", "deepinfra/"),
    "perplexity": ("perplexity", "perplexity/"),
}
VENDORS: Final = frozenset({"openai", "anthropic", "google", "xai", "deepseek", "moonshot"}) | {
    "mistral",
    "zai",
    "alibaba",
    "cohere",
    "minimax",
}
_MODES: Final = frozenset({"chat", "responses"})
# Models that do not answer text with text, and the same model under the name of a region.
_SKIPPED: Final = re.compile(
    r"lyria|-tts|robotics|container|-live|image|transcribe|realtime|omni|embed|guard"
    r"|^(?:eu|us|apac|global|global-standard|us-gov)/|^ft:|together-ai|/routers/|/preset/"
)
_FLAGS: Final = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_response_schema": "json_schema",
    "supports_audio_input": "audio",
    "supports_pdf_input": "files",
    "supports_reasoning": "reasoning",
}
_ENDPOINTS: Final = {
    "/v1/chat/completions": "chat_completions",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
}
# For these vendors, a row that does not name such an ability has been observed to mean that it is
# lacking.
_SILENCE_IS_NO: Final = {"openai": ("vision", "audio", "json_schema")} | dict.fromkeys(
    ("xai", "deepseek", "mistral", "zai"), ("vision", "audio")
)
_SUCCESSOR: Final = re.compile(
    r"^(?:gemini|xai|deepseek|moonshot|mistral|zai|dashscope|azure|azure_ai|together_ai)/"
)


class MapError(ValueError):
    """The file does not contain a map."""


@dataclass(frozen=True, slots=True)
class LiteLlmMap:
    """The map, and its citation."""

    entries: Mapping[str, Mapping[str, Any]]
    cited: str


def read_map(path: Path, sha256: str | None = None) -> LiteLlmMap:
    """Reads it from a wheel of LiteLLM or from the JSON file itself. Raises MapError, OSError.

    sha256: of the file, checked where it is given.
    """
    raw = path.read_bytes()
    if sha256 is not None and hashlib.sha256(raw).hexdigest() != sha256:
        raise MapError(f"{path} is not the file that was pinned: its sha256 differs")
    if path.suffix == ".whl":
        return LiteLlmMap(_parsed(_out_of_wheel(path), path), _version(path))
    return LiteLlmMap(_parsed(raw, path), "LiteLLM's map")


def rows_of(found: LiteLlmMap, read_on: date) -> dict[str, dict[str, dict[str, Any]]]:
    """Seller -> name -> row, for the models that write text."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for key, entry in found.entries.items():
        place = _place(key, entry)
        if place is None:
            continue
        seller, name = place
        row = _row(entry, seller) | {
            "source": _source(entry, found.cited),
            "read": read_on.isoformat(),
        }
        rows.setdefault(seller, {}).setdefault(name, row)
    return rows


def aliases_of(found: LiteLlmMap) -> dict[str, dict[str, str]]:
    """Seller -> another name -> the name, in lower case."""
    aliases: dict[str, dict[str, str]] = {}
    for key, entry in found.entries.items():
        target = entry.get("alias_of")
        of = found.entries.get(target) if isinstance(target, str) else None
        place = None if of is None else _place(str(target), of)
        if place is not None:
            seller, name = place
            aliases.setdefault(seller, {})[key.rpartition("/")[2].lower()] = name.lower()
    return aliases


def _out_of_wheel(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(MAP_IN_WHEEL)
    except zipfile.BadZipFile:
        raise MapError(f"{path} is not a wheel: it is not a zip file") from None
    except KeyError:
        raise MapError(f"{path} is not a wheel of LiteLLM: it lacks {MAP_IN_WHEEL}") from None


def _parsed(raw: bytes, path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        document = json.loads(raw, parse_float=Decimal)
    except ValueError as error:
        raise MapError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict) or not any(_is_entry(one) for one in document.values()):
        raise MapError(
            f"{path} is not a map of models: it should be an object of models, each with a "
            "litellm_provider"
        )
    return {key: one for key, one in document.items() if isinstance(one, dict)}


def _is_entry(one: object) -> bool:
    return isinstance(one, dict) and "litellm_provider" in one


def _version(path: Path) -> str:
    return f"LiteLLM {path.name.split('-')[1]}" if path.name.startswith("litellm-") else "LiteLLM"


def _source(entry: Mapping[str, Any], cited: str) -> str:
    where = entry.get("source")
    return cited if not isinstance(where, str) else f"{where} in {cited}"


def _place(key: str, entry: Mapping[str, Any]) -> tuple[str, str] | None:
    known = _SELLERS.get(str(entry.get("litellm_provider")))
    if known is None or entry.get("mode") not in _MODES:
        return None
    seller, prefix = known
    name = key.removeprefix(prefix)
    if seller not in VENDORS and "/" not in key:
        return None
    if _SKIPPED.search(name.lower()):
        return None
    return seller, name if seller in VENDORS else canonical(name)


def _row(entry: Mapping[str, Any], seller: str) -> dict[str, Any]:
    can, cannot = _abilities(entry, seller)
    retires = entry.get("deprecation_date")
    max_in, max_out = (
        _tokens(entry.get("max_input_tokens")),
        _tokens(entry.get("max_output_tokens")),
    )
    row = {
        "window": _window(max_in, max_out, seller),
        "max_in": max_in,
        "max_out": max_out,
        "can": sorted(can),
        "cannot": sorted(cannot),
        "endpoints": _endpoints(entry),
        "price": price_cell(entry, seller),
        "retires": _retires(entry, retires) if isinstance(retires, str) else None,
        "least": _tokens(entry.get("prompt_cache_min_tokens")),
    }
    return pruned(row)


def _window(max_in: int | None, max_out: int | None, seller: str) -> int | None:
    """The window of input and output. OpenAI's newer rows give the input without the output."""
    if max_in is None:
        return None
    apart = seller in ("openai", "azure") and max_in in (272_000, 922_000)
    return max_in + (max_out or 0) if apart else max_in


def _tokens(value: Any) -> int | None:
    """The number of tokens; some rows have it as a string."""
    try:
        tokens = int(value)
    except (TypeError, ValueError):
        return None
    return tokens if tokens > 0 else None


def _abilities(entry: Mapping[str, Any], seller: str) -> tuple[set[str], set[str]]:
    said = {ours: entry[key] for key, ours in _FLAGS.items() if isinstance(entry.get(key), bool)}
    can = {ours for ours, is_so in said.items() if is_so}
    cannot = {ours for ours, is_so in said.items() if not is_so}
    if seller in VENDORS and can:
        cannot |= {ours for ours in _SILENCE_IS_NO.get(seller, ()) if ours not in said}
    modalities = entry.get("supported_modalities")
    if isinstance(modalities, list):
        cannot |= {
            name
            for name, word in (("vision", "image"), ("audio", "audio"))
            if word not in modalities
        }
    return can, cannot - can


def _endpoints(entry: Mapping[str, Any]) -> list[str]:
    named = entry.get("supported_endpoints")
    found = (
        {_ENDPOINTS[one] for one in named if one in _ENDPOINTS}
        if isinstance(named, list)
        else set()
    )
    if not found and entry.get("mode") == "responses":
        found = {"responses"}
    return sorted(found)


def _retires(entry: Mapping[str, Any], on: str) -> dict[str, Any] | None:
    try:
        day = date.fromisoformat(on)
    except ValueError:
        return None
    successor = entry.get("successor_model")
    cell = {
        "on": day.isoformat(),
        "successor": _SUCCESSOR.sub("", successor) if isinstance(successor, str) else None,
        "source": entry.get("deprecation_source"),
    }
    return pruned(cell)
