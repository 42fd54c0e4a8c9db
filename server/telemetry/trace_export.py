"""Sends traces to their receiver, with the proxy and the certificates that are in force."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from server.config.file import ConfigError
from server.upstream.proxies import ProxyUnusableError, proxies_of
from server.upstream.trust import FILE, FOLDER

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

# including retries; it also limits how long stopping takes where the receiver is away
_SEND_S: Final = 2
# OpenTelemetry's own variables, which take precedence.
_THEIRS: Final = (
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
)


def build_exporter(url: str, environ: Mapping[str, str] = os.environ) -> OTLPSpanExporter:
    """Builds the exporter. url: the receiver's, with its path. Raises ImportError, ConfigError."""
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    try:
        proxy = proxies_of(environ).of_url(url)
    except ProxyUnusableError as error:
        raise ConfigError(f"telemetry.otlp_endpoint: {error}") from error
    session = requests.Session()
    # The library's own reading of the environment would send requests for this machine to a proxy.
    session.trust_env = False
    if proxy is not None:
        session.proxies = {"http": proxy.url, "https": proxy.url}
    theirs = any(environ.get(name) for name in _THEIRS)
    named = environ.get(FILE) or environ.get(FOLDER)
    return OTLPSpanExporter(
        endpoint=url, timeout=_SEND_S, session=session, certificate_file=None if theirs else named
    )
