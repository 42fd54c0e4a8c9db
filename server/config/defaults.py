"""The configuration for a user without a file: the provider keys in the environment, or the
sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import yaml

from server.config.environment import variable
from server.config.settings import Settings

SANDBOX = "sandbox"
# Names that clients ask for by default, of models that no provider here may have.
_ALIASES: Final = {"claude-*": "p2l", "gpt-*": "p2l"}
_ADDRESSES: Final = {
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}


def default_settings(environ: Mapping[str, str]) -> Settings:
    """The default settings: the providers whose keys are in the environment; without any key, all
    of them as sandboxes. Their models are those of `models: auto`. Names of Claude and GPT models
    that no provider has are routed."""
    catalogue = default_catalogue()
    found = {key: provider for key, provider in catalogue.items() if variable(key, environ)}
    providers: dict[str, Any] = {}
    for key_variable, provider in (found or catalogue).items():
        name = key_variable.removesuffix("_API_KEY").lower()
        # The sandbox keeps the provider's address, by which the facts about its models are looked
        # up.
        real_or_not = {"api_key_env": key_variable} if found else {"kind": SANDBOX}
        if not found and "base_url" not in provider:
            real_or_not["base_url"] = _ADDRESSES[provider["kind"]]
        providers[name] = provider | real_or_not | {"models": "auto"}
    return Settings.model_validate({"providers": providers, "aliases": _ALIASES})


def is_sandbox_only(settings: Settings) -> bool:
    """Whether every answer will come from the sandbox."""
    return all(provider.kind == SANDBOX for provider in settings.providers.values())


def missing_variables(environ: Mapping[str, str]) -> list[str]:
    """The variables that would add more providers, where at least one is configured."""
    missing = [name for name in default_catalogue() if not variable(name, environ)]
    return missing if len(missing) < len(default_catalogue()) else []


def known_variables() -> list[str]:
    """The variables in which keys are looked for."""
    return list(default_catalogue())


def default_catalogue() -> dict[str, Any]:
    """The providers that are known by themselves: the variable of the key -> the provider's keys in
    a configuration."""
    text = files("server.config").joinpath("default_catalogue.yaml").read_text(encoding="utf-8")
    catalogue: dict[str, Any] = yaml.safe_load(text)
    return catalogue
