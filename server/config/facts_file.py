"""The user's own table of facts, written by `p2l-router facts --update`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import orjson

from server.config.file import ConfigError
from server.model_facts.book import Book, bundled_book

_NAME: Final = "facts.json"
_LOG: Final = logging.getLogger("p2l_router.facts")


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of the file where the configuration names none: in the user's data folder."""
    home = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "p2l-router" / _NAME


def book_in_force(path: Path | None, environ: Mapping[str, str] = os.environ) -> Book:
    """The file's table where it exists and is no older than the bundled one, else the bundled one.

    path: from the configuration; where it is given, the file must be readable, else ConfigError is
    raised. A file in the user's data folder that cannot be read is skipped with a warning.
    """
    named = default_path(environ) if path is None else path
    try:
        changed_ns = named.stat().st_mtime_ns
    except OSError as error:
        if path is None:
            return bundled_book()
        raise ConfigError(
            f"facts.path: {path} cannot be read: {error.strerror}; write it with "
            "`p2l-router facts --update FILE`, or leave facts.path out"
        ) from error
    try:
        book = _book(named, changed_ns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{named} is not a table of facts ({type(error).__name__})"
        if path is not None:
            raise ConfigError(
                f"facts.path: {said}; write it again with `p2l-router facts --update FILE`"
            ) from error
        _LOG.warning("%s: the bundled table is used", said)
        return bundled_book()
    return book if book.as_of >= bundled_book().as_of else bundled_book()


@lru_cache(maxsize=4)
def _book(path: Path, changed_ns: int) -> Book:  # noqa: ARG001  the cache's key
    return Book(orjson.loads(path.read_bytes()), str(path))
