"""The configuration of a user who has none: the keys at hand, or the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import yaml

from server.config.environment import variable
from server.config.settings import Settings

SANDBOX = "sandbox"
# What clients ask for that know no other names: of models that no provider here has.
_ALIASES: Final = {"claude-*": "p2l", "gpt-*": "p2l"}
_ADDRESSES: Final = {
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}


def default_settings(environ: Mapping[str, str]) -> Settings:
    """Providers whose keys are in the environment; without any, all of them in the sandbox. Their
    models are those of `models: auto`. Names of Claude and GPT models that no provider has are
    routed."""
    catalogue = _catalogue()
    found = {key: provider for key, provider in catalogue.items() if variable(key, environ)}
    providers: dict[str, Any] = {}
    for key_variable, provider in (found or catalogue).items():
        name = key_variable.removesuffix("_API_KEY").lower()
        # the sandbox keeps the provider's address: what its models are like is looked up by it
        real_or_not = {"api_key_env": key_variable} if found else {"kind": SANDBOX}
        if not found and "base_url" not in provider:
            real_or_not["base_url"] = _ADDRESSES[provider["kind"]]
        providers[name] = provider | real_or_not | {"models": "auto"}
    return Settings.model_validate({"providers": providers, "aliases": _ALIASES})


def is_sandbox_only(settings: Settings) -> bool:
    """Whether no answer will come from a model."""
    return all(provider.kind == SANDBOX for provider in settings.providers.values())


def missing_variables(environ: Mapping[str, str]) -> list[str]:
    """The variables that would bring more providers, where there is one already."""
    missing = [name for name in _catalogue() if not variable(name, environ)]
    return missing if len(missing) < len(_catalogue()) else []


def known_variables() -> list[str]:
    """The variables that are looked at for keys."""
    return list(_catalogue())


def _catalogue() -> dict[str, Any]:
    text = files("server.config").joinpath("default_catalogue.yaml").read_text(encoding="utf-8")
    catalogue: dict[str, Any] = yaml.safe_load(text)
    return catalogue
