"""Turns a conversation into token ids; training, evaluation and serving all use this function."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2l_model.checkpoint.chat_template import ChatPrompt, ChatSettings, chat_settings
from p2l_model.checkpoint.ends import both_ends
from p2l_model.checkpoint.word_pieces import WordPieces
from p2l_model.errors import CheckpointError
from p2l_model.types import Conversation

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Text beyond this many characters per token of the limit is cut before it is tokenised, as
# megabytes of text would be read only to be cut. No word-piece vocabulary averages that many.
_CHARS_PER_TOKEN: Final = 40
# Token counts are exact up to this length; of a longer text, evenly spread samples are counted, so
# that the time is bounded.
_COUNTED_CHARS: Final = 65_536
_SAMPLES: Final = 16
TURNS_SEP: Final = "turns-sep"
CHAT_CLS: Final = "chat-cls"
ENDS: Final = "ends"


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How turns become ids.

    kind: turns-sep is [CLS] turn [SEP] turn [SEP], for encoders without a chat template; chat-cls
    is the tokenizer's chat template over the user's turns, then one CLS token, for decoders; ends
    is the text alone, without special tokens, for static features. max_tokens: includes special
    tokens. Longer conversations are cut from the left; with ends, in the middle.
    """

    kind: str
    max_tokens: int
    version: int = 1

    def hash(self, tokenizer_json: bytes, chat: ChatSettings | None = None) -> str:
        """The SHA-256 of the format, the tokenizer and its template: with equal hashes the ids are
        equal."""
        stated = asdict(self) if chat is None else asdict(self) | {"chat": asdict(chat)}
        settings = json.dumps(stated, sort_keys=True).encode()
        return hashlib.sha256(settings + b"\0" + tokenizer_json).hexdigest()


class PromptEncoder:
    """Makes token ids. The user's text never becomes a special token, whatever it contains."""

    def __init__(self, tokenizer_path: Path, prompt_format: PromptFormat) -> None:
        """Raises CheckpointError where the tokenizer is missing or lacks what the format needs."""
        if prompt_format.kind not in (TURNS_SEP, CHAT_CLS, ENDS):
            raise CheckpointError(f"unknown prompt format {prompt_format.kind!r}")
        try:
            raw = tokenizer_path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{tokenizer_path} cannot be read") from error
        self.format = prompt_format
        self._raw, self._path = raw, tokenizer_path
        self._ascii = WordPieces.of(raw)
        if self._ascii is None or prompt_format.kind != ENDS:
            self._tokenizer  # noqa: B018  (its faults are found at load)
        self._chat: ChatPrompt | None = None
        settings = None
        if prompt_format.kind == CHAT_CLS:
            settings = chat_settings(tokenizer_path.parent)
            if settings is None:
                raise CheckpointError(
                    f"{tokenizer_path.parent}: the tokenizer has no chat template"
                )
            self._chat = ChatPrompt(settings, self._tokenizer)
        elif prompt_format.kind == TURNS_SEP:
            self._cls, self._sep = self._special("[CLS]"), self._special("[SEP]")
        self.hash = prompt_format.hash(raw, settings)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        """The library's tokenizer. It takes 15 MB and 30 ms, so that with ends, where plain ASCII
        needs nothing of it, it is made for the first prompt with other characters."""
        from p2l_model.checkpoint.library_tokenizer import plain_tokenizer

        return plain_tokenizer(self._raw, self._path)

    def encode(self, conversation: Conversation) -> list[int]:
        """Returns at most max_tokens ids. The end of the conversation is kept, with ends its
        beginning as well.

        [CLS] stays first and [SEP] last (turns-sep), or CLS last (chat-cls), even without any text;
        ends has no ids then.
        """
        turns = conversation.turns or ("",)
        if self.format.kind == ENDS:
            return self._of_both_ends(turns)
        if self._chat is not None:
            return self._chat.encode(self._recent(turns), self.format.max_tokens)
        return self._separated(turns)

    def limited(self, max_tokens: int) -> PromptEncoder:
        """The same encoder with a lower limit. Its hash stays that of the limit used in
        training."""
        other = copy.copy(self)
        other.format = replace(self.format, max_tokens=min(max_tokens, self.format.max_tokens))
        return other

    def _recent(self, turns: Sequence[str]) -> list[str]:
        """The turns that can still be within max_tokens; the oldest of them is cut from its
        left."""
        room = self.format.max_tokens * _CHARS_PER_TOKEN
        kept: list[str] = []
        for turn in reversed(turns):
            if room <= 0:
                break
            kept.insert(0, _valid(turn if len(turn) <= room else turn.rstrip()[-room:]))
            room -= len(turn)
        return kept

    def _separated(self, turns: Sequence[str]) -> list[int]:
        room = self.format.max_tokens - 1
        kept: list[int] = []
        for turn in reversed(turns):
            if len(kept) >= room:
                break
            kept[:0] = [*self._ids(turn, room - len(kept)), self._sep]
        return [self._cls, *kept[-room:]]

    def _of_both_ends(self, turns: Sequence[str]) -> list[int]:
        room = self.format.max_tokens
        ids = [one for part in both_ends(turns, room) for one in self._all_ids(part)]
        return ids if len(ids) <= room else [*ids[: room // 2], *ids[room // 2 - room :]]

    def count_tokens(self, text: str) -> int:
        """The number of tokens of the text for this tokenizer; above 65,536 characters an estimate
        from samples, so that the time is bounded for any text."""
        if len(text) <= _COUNTED_CHARS:
            return len(self._all_ids(text))
        size = _COUNTED_CHARS // _SAMPLES
        step = (len(text) - size) // (_SAMPLES - 1)
        samples = [text[i * step : i * step + size] for i in range(_SAMPLES)]
        n_sampled = sum(len(self._all_ids(sample)) for sample in samples)
        return math.ceil(n_sampled * len(text) / _COUNTED_CHARS)

    def _ids(self, text: str, room: int) -> list[int]:
        """The ids of the text, or of its end where it is far longer than the room allows.

        The end is cut by characters. The ids can only differ from the whole text's where the end
        fills no more than the room (words of more than 40 characters a token).
        """
        longest = room * _CHARS_PER_TOKEN
        if len(text) > longest:
            # White space makes no tokens; a long run of it must not push out earlier text.
            text = text.rstrip()[-longest:]
        return self._all_ids(text)

    def _all_ids(self, text: str) -> list[int]:
        if self._ascii is not None and text.isascii():
            return self._ascii.ids(text)
        ids: list[int] = self._tokenizer.encode(_valid(text), add_special_tokens=False).ids
        return ids

    def _special(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(f"the tokenizer has no {token}")
        return int(found)


def _valid(text: str) -> str:
    # JSON may contain lone surrogates, which no tokenizer can encode.
    return text.encode("utf-8", "replace").decode("utf-8")
