"""From a conversation to token ids: what is kept, what is cut, what can never happen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoint import SPECIAL, write_base
from tokenizers import Tokenizer

from examples import examples
from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
from p2l_model.checkpoint.tokens import TURNS_SEP, PromptEncoder, PromptFormat
from p2l_model.errors import CheckpointError
from p2l_model.types import Conversation

MAX_TOKENS = 16


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("prompt") / "base") / "tokenizer.json"


@pytest.fixture(scope="module")
def encoder(tokenizer_path: Path) -> PromptEncoder:
    return PromptEncoder(tokenizer_path, PromptFormat(TURNS_SEP, MAX_TOKENS))


@pytest.fixture(scope="module")
def bundled() -> PromptEncoder:
    return load_checkpoint(resolve_checkpoint("bundled-high")).prompt


def words(encoder: PromptEncoder, *turns: str) -> list[str]:
    tokens = Tokenizer.from_str(encoder._tokenizer.to_str())
    return [tokens.id_to_token(one) or "" for one in encoder.encode(Conversation(turns))]


def test_each_turn_ends_with_a_separator(encoder: PromptEncoder) -> None:
    assert words(encoder, "h w", "h") == [
        "[CLS]", "h", "w", "[SEP]", "h", "[SEP]",
    ]  # fmt: skip


@pytest.mark.parametrize("turns", [(), ("",), ("  \n\t",)])
def test_no_text_leaves_the_frame(encoder: PromptEncoder, turns: tuple[str, ...]) -> None:
    assert words(encoder, *turns) == ["[CLS]", "[SEP]"]


def test_the_tokenizers_own_truncation_and_padding_are_off(encoder: PromptEncoder) -> None:
    assert words(encoder, "a b c d e f g h i j")[-3:] == ["i", "j", "[SEP]"]
    assert len(words(encoder, "a")) == 3


@pytest.mark.parametrize("n_words", [MAX_TOKENS - 3, MAX_TOKENS - 2, MAX_TOKENS - 1, 40])
def test_the_limit_cuts_from_the_left(encoder: PromptEncoder, n_words: int) -> None:
    spoken = [chr(ord("a") + i % 26) for i in range(n_words)]
    kept = spoken[-(MAX_TOKENS - 2) :]
    assert words(encoder, " ".join(spoken)) == ["[CLS]", *kept, "[SEP]"]


def test_old_turns_go_first(encoder: PromptEncoder) -> None:
    seen = words(encoder, "x " * 30, "y " * 9, "h")
    assert seen == ["[CLS]", "x", "x", "[SEP]", *["y"] * 9, "[SEP]", "h", "[SEP]"]
    assert words(encoder, "x " * 30, "y " * 30, "h") == [
        "[CLS]",
        *["y"] * 12,
        "[SEP]",
        "h",
        "[SEP]",
    ]


@pytest.mark.parametrize("text", [*SPECIAL, "</s>", "a [SEP] b", "[CLS][MASK]"])
def test_text_never_becomes_a_special_token(
    encoder: PromptEncoder, bundled: PromptEncoder, text: str
) -> None:
    for one in (encoder, bundled):
        special = {one._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[MASK]")}
        assert not special & set(one.encode(Conversation((text,)))[1:-1])


@pytest.mark.slow
@given(st.lists(st.text(max_size=60), max_size=4))
@settings(deadline=None, max_examples=examples(200))
def test_any_text_has_its_frame_and_fits(bundled: PromptEncoder, turns: list[str]) -> None:
    ids = bundled.encode(Conversation(tuple(turns)))
    cls, sep = (bundled._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    assert ids[0] == cls
    assert ids[-1] == sep
    assert ids.count(cls) == 1
    assert ids.count(sep) == max(len(turns), 1)
    assert len(ids) <= bundled.format.max_tokens


def test_lone_surrogates_are_replaced(encoder: PromptEncoder) -> None:
    assert words(encoder, "a\ud800 b") == words(encoder, "a? b")
    assert encoder.count_tokens("\udfff") == 1


def test_a_long_text_gives_the_ids_of_its_whole(bundled: PromptEncoder) -> None:
    text = "Prove it: every word of this sentence counts. " * 2000
    whole = bundled._tokenizer.encode(text, add_special_tokens=False).ids
    assert bundled.encode(Conversation((text,)))[1:-1] == whole[-510:]


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\u3000", "\xa0"])
def test_blanks_at_the_end_push_nothing_out(bundled: PromptEncoder, blank: str) -> None:
    said = Conversation(("hello there",))
    assert bundled.encode(Conversation(("hello there" + blank * 50_000,))) == bundled.encode(said)


@pytest.fixture
def n_tokenised(bundled: PromptEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The characters of each text that is tokenised. Untouched, four million take ten seconds."""
    sizes: list[int] = []
    tokenised = bundled._all_ids

    def counted(text: str) -> list[int]:
        sizes.append(len(text))
        return tokenised(text)

    monkeypatch.setattr(bundled, "_all_ids", counted)
    return sizes


@pytest.mark.parametrize("text", ["x", "秋", "!", " ", "word ", "é"])
def test_megabytes_take_bounded_time(
    bundled: PromptEncoder, n_tokenised: list[int], text: str
) -> None:
    long = text * (4_000_000 // len(text))
    assert len(bundled.encode(Conversation((long,)))) <= bundled.format.max_tokens
    bundled.count_tokens(long)
    assert 0 < sum(n_tokenised) <= 100_000


def test_many_turns_take_bounded_time(bundled: PromptEncoder, n_tokenised: list[int]) -> None:
    assert len(bundled.encode(Conversation(("hi",) * 500_000))) == bundled.format.max_tokens
    assert 0 < len(n_tokenised) <= bundled.format.max_tokens


def test_token_counts_are_exact_and_without_specials(encoder: PromptEncoder) -> None:
    assert encoder.count_tokens("") == 0
    assert encoder.count_tokens("h w [sep]") == 7
    assert encoder.count_tokens("a " * 1000) == 1000


@pytest.mark.slow
def test_counts_of_long_texts_are_close(bundled: PromptEncoder) -> None:
    prose, chinese = "The quick brown fox jumps. " * 10_000, "秋天来了。" * 20_000
    for text in (prose, chinese, prose + chinese):
        exact = sum(
            len(bundled._tokenizer.encode(text[i : i + 9000], add_special_tokens=False).ids)
            for i in range(0, len(text), 9000)
        )
        assert bundled.count_tokens(text) == pytest.approx(exact, rel=0.05)


def test_the_hash_tells_formats_and_tokenizers_apart(tokenizer_path: Path) -> None:
    raw = tokenizer_path.read_bytes()
    hashes = {
        PromptFormat(TURNS_SEP, 16).hash(raw),
        PromptFormat(TURNS_SEP, 17).hash(raw),
        PromptFormat(TURNS_SEP, 16, version=2).hash(raw),
        PromptFormat(TURNS_SEP, 16).hash(raw + b" "),
    }
    assert len(hashes) == 4
    assert PromptFormat(TURNS_SEP, 16).hash(raw) in hashes


def test_unusable_tokenizers_are_refused(tmp_path: Path, tokenizer_path: Path) -> None:
    junk, bare = tmp_path / "junk.json", tmp_path / "bare.json"
    junk.write_text("{}")
    raw = tokenizer_path.read_text().replace("[CLS]", "[XXX]")
    bare.write_text(raw)
    cases = {
        "cannot be read": (tmp_path / "absent.json", TURNS_SEP),
        "is not a tokenizer": (junk, TURNS_SEP),
        r"no \[CLS\]": (bare, TURNS_SEP),
        "unknown prompt format": (tokenizer_path, "chat"),
    }
    for complaint, (path, kind) in cases.items():
        with pytest.raises(CheckpointError, match=complaint):
            PromptEncoder(path, PromptFormat(kind, 16))
