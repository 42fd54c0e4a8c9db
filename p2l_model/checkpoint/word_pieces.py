"""WordPiece for ASCII text from a table of whole words: the tokenizer's ids in a third of the time.

Most words of a text are entries of the vocabulary, so that one regular expression and one look-up
per word give their ids. The table is made from the vocabulary alone: nothing of a prompt is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# BERT's pre-tokeniser takes every ASCII character that is no letter, digit or blank alone.
_WORD: Final = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_BLANKS: Final = "\t\n\r"
# BERT's normaliser lower-cases and deletes control characters.
_PLAIN: Final = {
    code: None if (code < 32 or code == 127) and chr(code) not in _BLANKS else chr(code).lower()
    for code in range(128)
}


@dataclass(frozen=True, slots=True)
class WordPieces:
    """The vocabulary: pieces that begin a word, and pieces that continue one (without the prefix).

    longest_piece: in characters. longest_word: a longer word is unknown as a whole.
    """

    first: Mapping[str, int]
    inner: Mapping[str, int]
    unknown: int
    longest_piece: int
    longest_word: int

    @classmethod
    def of(cls, tokenizer_json: bytes) -> WordPieces | None:
        """The table of a tokenizer; None where it is not BERT's uncased WordPiece, whose rules for
        ASCII text these are."""
        try:
            stored = json.loads(tokenizer_json)
        except ValueError:
            return None
        if not isinstance(stored, dict) or not _is_uncased_bert(stored):
            return None
        model = stored["model"]
        prefix = model["continuing_subword_prefix"]
        vocabulary: dict[str, int] = model["vocab"]
        inner = {
            piece.removeprefix(prefix): index
            for piece, index in vocabulary.items()
            if piece.startswith(prefix)
        }
        return cls(
            {
                piece: index
                for piece, index in vocabulary.items()
                if piece.isascii() and not piece.startswith(prefix)
            },
            inner,
            vocabulary[model["unk_token"]],
            max(map(len, vocabulary)),
            model["max_input_chars_per_word"],
        )

    def ids(self, text: str) -> list[int]:
        """The ids of ASCII text, without special tokens."""
        found: list[int] = []
        whole = self.first.get
        for word in _WORD.findall(text.translate(_PLAIN)):
            index = whole(word)
            if index is None:
                found += self._pieces(word)
            else:
                found.append(index)
        return found

    def _pieces(self, word: str) -> list[int]:
        """The longest piece that fits, again and again; the unknown piece where none does."""
        found: list[int] = []
        if len(word) > self.longest_word:
            return [self.unknown]
        start, table = 0, self.first
        while start < len(word):
            for end in range(min(len(word), start + self.longest_piece), start, -1):
                index = table.get(word[start:end])
                if index is not None:
                    break
            else:
                return [self.unknown]
            found.append(index)
            start, table = end, self.inner
        return found


def _is_uncased_bert(stored: Mapping[str, Any]) -> bool:
    normalizer, splitter = stored.get("normalizer"), stored.get("pre_tokenizer")
    if not isinstance(normalizer, dict) or not isinstance(splitter, dict):
        return False
    return (
        stored["model"].get("type") == "WordPiece"
        and normalizer.get("type") == "BertNormalizer"
        and normalizer.get("lowercase") is True
        and normalizer.get("clean_text") is True
        and splitter.get("type") == "BertPreTokenizer"
        and all(token["special"] for token in stored.get("added_tokens", ()))
    )
