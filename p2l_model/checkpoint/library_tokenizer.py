"""The tokenizer of the tokenizers library, set up so that it changes nothing but text to ids."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from p2l_model.errors import CheckpointError


def plain_tokenizer(raw: bytes, path: Path) -> Tokenizer:
    """Reads tokenizer.json. path: for errors. Raises CheckpointError."""
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except Exception as error:  # tokenizers raises plain Exception
        raise CheckpointError(f"{path} is not a tokenizer") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
