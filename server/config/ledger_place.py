"""The default location of the ledger: the user's data folder, or the working directory where an
earlier release created it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.config.file import ConfigError
from server.config.settings import StorageSettings

_FOLDER: Final = "p2l-router"
_FILE: Final = "p2l-router.db"


@dataclass(frozen=True, slots=True)
class LedgerPlace:
    """The location of the ledger. is_here: it was found in the working directory. usual: where it
    would be otherwise."""

    path: Path
    usual: Path
    is_here: bool

    @property
    def said(self) -> str:
        """One line that says where the ledger is, and how to move it."""
        if not self.is_here:
            return str(self.path)
        other = f" (and not {self.usual})" if self.usual.exists() else ""
        return (
            f"{self.path}, found in the working directory{other}: to keep using it, set "
            f"storage.url: sqlite:///{self.path}; or stop all gateways and move it, with all "
            f"files whose names begin with its name, to {self.usual.parent}"
        )

    def make_folder(self) -> None:
        """Creates its folder. Raises ConfigError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"storage.url: the folder {self.path.parent} cannot be made ({error.strerror}). "
                "Spend is recorded there: set storage.url to a file that can be written "
                "(sqlite:////var/lib/p2l-router/p2l-router.db) or to a postgresql:// database, or "
                "XDG_DATA_HOME to a folder that can be written"
            ) from error


def ledger_place(storage: StorageSettings, environ: Mapping[str, str]) -> LedgerPlace | None:
    """The default location; None where the configuration sets one. Raises ConfigError where there
    is no home folder."""
    if storage.url is not None or storage.url_env is not None:
        return None
    usual = _data_home(environ) / _FOLDER / _FILE
    here = _here()
    if here is not None and here != usual and here.is_file():
        return LedgerPlace(here, usual, is_here=True)
    return LedgerPlace(usual, usual, is_here=False)


def _here() -> Path | None:
    try:
        return Path.cwd() / _FILE
    except FileNotFoundError:  # the folder was removed
        return None


def _data_home(environ: Mapping[str, str]) -> Path:
    """The data folder by the XDG base directory specification, under which a relative path is
    invalid."""
    given = Path(environ.get("XDG_DATA_HOME", ""))
    if given.is_absolute():
        return given
    return _home(environ) / ".local" / "share"


def _home(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("HOME", ""))
    if home.is_absolute():
        return home
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ConfigError(
            "storage.url is not set, and this user has no home folder for the ledger: set "
            "storage.url "
            "(sqlite:////var/lib/p2l-router/p2l-router.db), or the variable XDG_DATA_HOME to a "
            "folder that can be written"
        ) from None
