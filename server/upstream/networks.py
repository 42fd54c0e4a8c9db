"""Reports the proxies and certificates between this machine and the providers, for `check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from server.config.settings import ProviderSettings, Settings
from server.upstream.kinds import address_of
from server.upstream.proxies import Proxies, ProxyUnusableError, proxies_of
from server.upstream.trust import FILE, FOLDER, TrustUnusableError, ssl_context, trust_of

CANNOT_BE_HAD: Final = (
    "cannot be had yet: the request signatures of Bedrock, the logins of Vertex and Entra "
    "(API keys of Bedrock, of Gemini and of an Azure resource can be used)"
)
_DIRECT: Final = "directly"
# Endings of host names -> the login that they may require and that is not supported here.
_LOGINS: Final = {
    ".amazonaws.com": "the request signatures of Bedrock cannot be made: use one of its API keys, "
    "with kind openai and base_url https://bedrock-runtime.REGION.amazonaws.com/openai/v1",
    "aiplatform.googleapis.com": "the login of Vertex cannot be made: use kind gemini with an API "
    "key and no base_url",
    ".azure.com": "the login of Entra cannot be made: name a key of the resource in api_key_env",
}


def network_report(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """The network settings in force for the providers that a model uses. problems: the reasons for
    which `serve` refuses to start. It contains no login of a proxy."""
    proxies = proxies_of(environ)
    used = {model.provider for model in settings.models.values()}
    providers = {
        name: provider
        for name, provider in settings.providers.items()
        if name in used and provider.kind != "sandbox"
    }
    ways = {name: _way(proxies, provider) for name, provider in providers.items()}
    return {
        "proxies": {
            scheme: f"{proxy} ({proxy.variable})"
            for scheme, proxy in proxies.in_force()
            if not isinstance(proxy, ProxyUnusableError)
        },
        "no_proxy": proxies.no_proxy,
        "certificates": {n: environ[n] for n in (FILE, FOLDER) if environ.get(n)},
        "providers": {name: str(way) for name, way in ways.items()},
        "problems": list(_problems(ways, providers, environ)),
        "logins": dict(_logins(providers)),
        "cannot_be_had": CANNOT_BE_HAD,
    }


def network_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The same report as lines of text."""
    for scheme, proxy in report["proxies"].items():
        yield f"proxy for {scheme}: {proxy}"
    if report["proxies"] and report["no_proxy"]:
        yield f"no proxy for: {report['no_proxy']} (NO_PROXY)"
    direct = [name for name, way in report["providers"].items() if way == _DIRECT]
    if report["proxies"] and direct:
        yield f"reached directly: {', '.join(direct)}"
    if not report["proxies"]:
        yield "proxy: none"
    named = [f"{path} ({name})" for name, path in report["certificates"].items()]
    yield f"certificates believed: {', '.join(named) or 'public authorities, this machine'}"
    for name, why in report["logins"].items():
        yield f"provider {name}: {why}"
    yield str(report["cannot_be_had"])


def _way(proxies: Proxies, provider: ProviderSettings) -> str | ProxyUnusableError:
    try:
        proxy = proxies.of_url(address_of(provider))
    except ProxyUnusableError as error:
        return error
    return _DIRECT if proxy is None else f"by {proxy}"


def _problems(
    ways: Mapping[str, str | ProxyUnusableError],
    providers: Mapping[str, ProviderSettings],
    environ: Mapping[str, str],
) -> Iterator[str]:
    yield from sorted({str(way) for way in ways.values() if isinstance(way, ProxyUnusableError)})
    if any(address_of(provider).startswith("https:") for provider in providers.values()):
        try:
            ssl_context(trust_of(environ))
        except TrustUnusableError as error:
            yield str(error)


def _logins(providers: Mapping[str, ProviderSettings]) -> Iterator[tuple[str, str]]:
    for name, provider in providers.items():
        host = (urlsplit(address_of(provider)).hostname or "").lower()
        has_key = provider.api_key_env is not None or provider.api_key_file is not None
        for suffix, why in _LOGINS.items():
            if host.endswith(suffix) and not (has_key and _takes_keys(host, provider)):
                yield name, why


def _takes_keys(host: str, provider: ProviderSettings) -> bool:
    """Whether this address requires only a key."""
    if host.endswith(".amazonaws.com"):
        return provider.kind == "openai"
    return not host.endswith("aiplatform.googleapis.com")
