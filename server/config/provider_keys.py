"""Reads the keys of providers from the variables or files that the configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from server.config.environment import variable
from server.config.file import ConfigError
from server.config.secret import Secret
from server.config.settings import ProviderSettings


def api_key(name: str, provider: ProviderSettings, environ: Mapping[str, str]) -> Secret | None:
    """The provider's key. Raises ConfigError where its variable or file holds none."""
    if provider.api_key_file is not None:
        return _key_in(f"providers.{name}.api_key_file", provider.api_key_file)
    if provider.api_key_env is None:
        return None
    value = variable(provider.api_key_env, environ)
    if not value:
        raise ConfigError(
            f"providers.{name}.api_key_env: the variable {provider.api_key_env} is not set: "
            "set it to the provider's key, or leave the provider and its models out"
        )
    return Secret(value)


def _key_in(setting: str, path: Path) -> Secret:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # The message gives the reason only: a decoding error quotes what it could not decode.
        raise ConfigError(f"{setting}: {path} cannot be read: {type(error).__name__}") from None
    if not value:
        raise ConfigError(f"{setting}: {path} is empty: it should hold the provider's key")
    return Secret(value)
