"""Reads secrets from the environment: from a variable, or from the file that NAME_FILE names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from server.config.file import ConfigError


def variable(name: str, environ: Mapping[str, str]) -> str:
    """The value of NAME, else the content of the file that NAME_FILE names (the usual way to pass
    secrets to containers), else the empty string. Raises ConfigError where that file cannot be
    read."""
    value = environ.get(name, "").strip()
    path = environ.get(f"{name}_FILE", "")
    if value or not path:
        return value
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # The message gives the reason only: a decoding error quotes what it could not decode.
        raise ConfigError(f"{name}_FILE: {path} cannot be read: {type(error).__name__}") from None
