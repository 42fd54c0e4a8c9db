"""Explains why a connection failed, in words without secrets: no host, no header, no key."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

import httpx

# OpenSSL's numbers for faults of a certificate (X509_V_ERR_...).
_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_UNKNOWN_AUTHORITY: Final = frozenset({18, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 63, 64})

_LOOK_UP_AGAIN: Final = frozenset({socket.EAI_AGAIN, socket.EAI_FAIL})
_ERRNOS: Final = {
    errno.ECONNREFUSED: "nothing listens there (connection refused)",
    errno.EHOSTUNREACH: "there is no way to its address (host unreachable)",
    errno.ENETUNREACH: "there is no way to its address (network unreachable)",
    errno.ETIMEDOUT: "its address does not answer (timed out)",
    errno.ECONNRESET: "it closed the connection at once (connection reset)",
    errno.EPIPE: "it closed the connection at once",
    errno.EMFILE: "this process has too many files and connections open (see ulimit -n)",
    errno.ENFILE: "this machine has too many files and connections open",
    errno.EADDRNOTAVAIL: "this machine has no port left for another connection",
    errno.EACCES: "this machine forbids the connection",
    errno.EPERM: "this machine forbids the connection",
}
# What broke an answer off, by the type of the exception alone: a library's message can hold quotes.
_BREAKS: Final = (
    (httpx.ProxyError, "the proxy failed"),
    (httpx.ReadError, "the connection broke"),
    (httpx.WriteError, "the connection broke while the request was sent"),
    (httpx.RemoteProtocolError, "its answer was cut short, or is not HTTP/1.1"),
    (httpx.LocalProtocolError, "the request cannot be written as HTTP"),
    (httpx.DecodingError, "its answer is compressed in an unknown way"),
    (httpx.UnsupportedProtocol, "its address is neither http nor https"),
    (httpx.InvalidURL, "its address is not a URL"),
)


class UnreachableError(httpx.ConnectError):
    """No connection could be made. cause: why, in words that may be shown."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class TooSlowError(httpx.ConnectTimeout):
    """No connection was made in time. cause: the step that was in progress."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def cause_of(error: Exception) -> str:
    """The cause of an error that the system or TLS raised while a connection was made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error)
    if isinstance(error, ssl.SSLError):
        return _tls(error)
    if isinstance(error, socket.gaierror):
        if error.errno in _LOOK_UP_AGAIN:
            return "its name could not be looked up: no DNS server answered"
        return "its name is not known (DNS)"
    if isinstance(error, UnicodeError):
        return "its name is not a host name"
    number = error.errno if isinstance(error, OSError) else None
    if number is None and isinstance(error, ConnectionError):
        return "it closed the connection at once"
    return _ERRNOS.get(number or 0, type(error).__name__)


def broken_off(error: Exception) -> str:
    """The cause of an error that ended an exchange on an established connection."""
    words = (words for kind, words in _BREAKS if isinstance(error, kind))
    return next(words, type(error).__name__)


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        signed = "is self-signed" if code == 18 else "is signed by an unknown authority"
        return (
            f"its certificate {signed}: name a file with that authority's certificate in "
            "SSL_CERT_FILE, or a folder in SSL_CERT_DIR"
        )
    if code == _EXPIRED:
        return "its certificate has expired"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet: is this machine's clock right?"
    if code in _OTHER_NAME:
        return "its certificate is for another name than the one in base_url"
    return f"its certificate is not accepted ({error.verify_message})"


def _tls(error: ssl.SSLError) -> str:
    reason = error.reason or type(error).__name__
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "it does not speak TLS there: does its address begin with http://?"
    return f"TLS could not be agreed on ({reason})"
