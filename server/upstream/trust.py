"""Determines the trusted certificates: those of the public authorities and of this machine, or,
where the environment says so as for OpenSSL, only those of SSL_CERT_FILE and SSL_CERT_DIR."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import httpx

FILE: Final = "SSL_CERT_FILE"
FOLDER: Final = "SSL_CERT_DIR"
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
_SUFFIXES: Final = frozenset({".pem", ".crt", ".cer"})


class TrustUnusableError(ValueError):
    """The certificates that the environment names cannot be read; the message says which variable
    and why."""


class Trust(NamedTuple):
    """The trusted certificates. file: a file of certificates (PEM). folders: folders of such files,
    by OpenSSL's hashed names. None: not set."""

    file: str | None
    folders: str | None


def trust_of(environ: Mapping[str, str]) -> Trust:
    """The certificates that the environment names."""
    return Trust(environ.get(FILE) or None, environ.get(FOLDER) or None)


@cache
def ssl_context(trust: Trust) -> ssl.SSLContext:
    """The SSL context, one for the process: reading the certificates takes tens of milliseconds and
    4 MB. Raises TrustUnusableError."""
    if trust == Trust(None, None):
        context = httpx.create_ssl_context(trust_env=False)
        # A company's own authority is added to the machine's store.
        context.load_default_certs()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trust.file is not None:
        _load_file(context, trust.file)
    if trust.folders is not None:
        _load_folders(context, trust.folders)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_file(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise TrustUnusableError(f"{FILE}: {path} holds no certificate in PEM form") from None
    except OSError as error:
        raise TrustUnusableError(f"{FILE}: {path} cannot be read: {error.strerror}") from None


def _load_folders(context: ssl.SSLContext, paths: str) -> None:
    folders = [path for path in paths.split(os.pathsep) if Path(path).is_dir()]
    if not folders:
        raise TrustUnusableError(f"{FOLDER}: {paths} is not a folder")
    for folder in folders:
        # They are read when a certificate asks for one of them.
        context.load_verify_locations(capath=folder)
        names = [path.name for path in Path(folder).iterdir()]
        if not any(_HASHED.fullmatch(name) for name in names):
            # `openssl rehash` was not run: they would not be found.
            _load_all(context, Path(folder))


def _load_all(context: ssl.SSLContext, folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _SUFFIXES:
            # The folder may hold other files, such as keys.
            with suppress(OSError):
                context.load_verify_locations(cafile=path)
