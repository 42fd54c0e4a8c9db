"""Turns a conversation into token ids with the tokenizer's chat template and one CLS token at the
end.

This follows the paper's reference code with one exception: the user's text never becomes a special
token (docs/theory.md, section 2). Text that spells one is hidden while the template is rendered,
the result is split at the template's own special tokens, and then the text is put back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from p2l_model.errors import CheckpointError, ExtraMissingError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONFIG: Final = "tokenizer_config.json"
_TEMPLATE: Final = "chat_template.jinja"
# Private-use characters that stand for hidden text; the first ones that the conversation does not
# contain are used.
_PRIVATE: Final = range(0xF0000, 0xFFFFE)


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """The settings in the tokenizer's folder. special: the texts of bos, eos and so on, by name."""

    template: str
    special: Mapping[str, str]

    @property
    def cls_token(self) -> str:
        """The tokenizer's CLS token, or else its EOS, which the backbone has also seen at the end
        of texts."""
        return self.special.get("cls_token", self.special.get("eos_token", ""))


class ChatPrompt:
    """Renders and tokenises conversations. tokenizer: must not turn any text into a special
    token."""

    def __init__(self, settings: ChatSettings, tokenizer: Tokenizer) -> None:
        """Raises CheckpointError where the template or the CLS token does not fit,
        ExtraMissingError without Jinja."""
        self._template = _compiled(settings.template)
        self._settings = settings
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._special = {t.content: index for index, t in added.items() if t.content != ""}
        if settings.cls_token not in self._special:
            raise CheckpointError("the tokenizer has neither a CLS nor an EOS token to end with")

    def encode(self, turns: Sequence[str], max_tokens: int) -> list[int]:
        """Returns at most max_tokens ids: the end of the conversation, then CLS."""
        ids = self._ids(self._render(turns))
        return [
            *ids[max(0, len(ids) - (max_tokens - 1)) :],
            self._special[self._settings.cls_token],
        ]

    def _render(self, turns: Sequence[str]) -> list[tuple[str, bool]]:
        """Pieces of the rendered conversation, each with whether it is a special token."""
        hidden = self._hiding(turns)
        messages = [{"role": "user", "content": _replaced(turn, hidden)} for turn in turns]
        try:
            text = self._template.render(
                messages=messages, add_generation_prompt=False, **self._settings.special
            )
        except Exception as error:  # a template may raise anything
            raise CheckpointError("the chat template cannot be rendered") from error
        shown = {mark: token for token, mark in hidden.items()}
        pieces = _split(text, sorted(self._special, key=len, reverse=True))
        return [(part if special else _replaced(part, shown), special) for part, special in pieces]

    def _hiding(self, turns: Sequence[str]) -> dict[str, str]:
        """Maps each special token in the user's text, longest first, to the character that hides
        it."""
        spelt = [token for token in self._special if any(token in turn for turn in turns)]
        used = set("".join(turns))
        free = (chr(code) for code in _PRIVATE if chr(code) not in used)
        return {token: next(free) for token in sorted(spelt, key=len, reverse=True)}

    def _ids(self, pieces: Sequence[tuple[str, bool]]) -> list[int]:
        ids: list[int] = []
        for text, special in pieces:
            if special:
                ids.append(self._special[text])
            else:
                ids += self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def chat_settings(folder: Path) -> ChatSettings | None:
    """Reads the tokenizer's files; None where they have no chat template. Raises
    CheckpointError."""
    config = _config(folder / _CONFIG)
    named = config.get("chat_template")
    if isinstance(named, list):  # several templates, by name
        named = next((one.get("template") for one in named if one.get("name") == "default"), None)
    file = folder / _TEMPLATE
    template = file.read_text(encoding="utf-8") if file.exists() else named
    if not isinstance(template, str):
        return None
    special = {
        name: text
        for name in ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token")
        if (text := _token(config.get(name))) is not None
    }
    return ChatSettings(template, special)


def _config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not JSON") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} must be an object")
    return config


def _token(value: object) -> str | None:
    """The text of a token, which the file holds as a string or in an object."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _compiled(template: str) -> Any:
    try:
        from jinja2 import TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ExtraMissingError("jinja2", "torch") from error
    # White space is trimmed as chat templates expect. There is no clock, so that a prompt's ids do
    # not depend on the day.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    try:
        return environment.from_string(template)
    except TemplateSyntaxError as error:
        raise CheckpointError(f"the chat template is not valid: {error}") from error


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


def _replaced(text: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        text = text.replace(old, new)
    return text


def _split(text: str, tokens: Sequence[str]) -> list[tuple[str, bool]]:
    """Splits the text at each of the tokens, the longest first."""
    pieces = [(text, False)]
    for token in tokens:
        if token not in text:
            continue
        cut: list[tuple[str, bool]] = []
        for piece, special in pieces:
            parts = [piece] if special else piece.split(token)
            for index, part in enumerate(parts):
                cut += [(token, True)] if index > 0 else []
                cut += [(part, special)] if part != "" else []
        pieces = cut
    return pieces
