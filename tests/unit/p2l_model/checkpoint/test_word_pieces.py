"""The quick way to token ids gives the tokenizer's own, for any ASCII text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from examples import examples
from p2l_model.checkpoint.folder import resolve_checkpoint
from p2l_model.checkpoint.word_pieces import WordPieces

RAW = (resolve_checkpoint("bundled") / "tokenizer.json").read_bytes()


def tokenizer() -> Tokenizer:
    made = Tokenizer.from_buffer(RAW)
    made.no_truncation()
    made.no_padding()
    made.encode_special_tokens = True
    return made


TOKENIZER = tokenizer()
PIECES = WordPieces.of(RAW)


def same(text: str) -> bool:
    assert PIECES is not None
    ids: list[int] = TOKENIZER.encode(text, add_special_tokens=False).ids
    return PIECES.ids(text) == ids


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\r\n",
        "Unbelievably antidisestablishmentarian!",
        "[CLS] [SEP] [MASK] ##ing #",
        "def f_x(a_1):\n\treturn a_1**2  # A comment",
        "a\x00b\x07c\x7fd\x1ce",
        "x" * 100,
        "x" * 101,
        "qzxjv" * 19,
        "don't (3.14) user@example.com",
    ],
)
def test_chosen_texts_have_the_tokenizers_ids(text: str) -> None:
    assert same(text)


@given(st.text(st.characters(max_codepoint=127), max_size=300))
@settings(deadline=None, max_examples=examples(300))
def test_any_ascii_text_has_the_tokenizers_ids(text: str) -> None:
    assert same(text)


@pytest.mark.slow
@given(st.lists(st.sampled_from([*"aeinrstxz", "ing", "un", "pre", "ly", "qq", "7"]), max_size=20))
@settings(deadline=None, max_examples=examples(300))
def test_any_word_has_the_tokenizers_pieces(parts: list[str]) -> None:
    assert same("".join(parts))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("normalizer", "lowercase"), False),
        (("normalizer", "type"), "Lowercase"),
        (("pre_tokenizer", "type"), "Whitespace"),
        (("model", "type"), "BPE"),
        (("normalizer",), None),
    ],
)
def test_other_tokenizers_have_no_quick_way(where: tuple[str, ...], value: object) -> None:
    stored = json.loads(RAW)
    place = stored
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    assert WordPieces.of(json.dumps(stored).encode()) is None


def test_a_token_that_users_may_write_has_no_quick_way(tmp_path: Path) -> None:
    stored = json.loads(RAW)
    stored["added_tokens"].append({"id": 9, "content": "<tool>", "special": False})
    assert WordPieces.of(json.dumps(stored).encode()) is None
