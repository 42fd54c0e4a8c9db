"""The configuration of a user who has none: the keys at hand, or the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml

from server.settings import Settings
from server.variables import variable

SANDBOX = "sandbox"


def default_settings(environ: Mapping[str, str]) -> Settings:
    """Providers whose keys are in the environment; without any, every model in the sandbox."""
    catalogue = _catalogue()
    found = {key: part for key, part in catalogue.items() if variable(key, environ)}
    providers: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for key_variable, part in (found or catalogue).items():
        name = key_variable.removesuffix("_API_KEY").lower()
        # the sandbox keeps the provider's address: the model's list price there is looked up by it
        real_or_not = {"api_key_env": key_variable} if found else {"kind": SANDBOX}
        providers[name] = part["provider"] | real_or_not
        models |= {model: card | {"provider": name} for model, card in part["models"].items()}
    return Settings.model_validate({"providers": providers, "models": models})


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
    text = files("server").joinpath("default_catalogue.yaml").read_text(encoding="utf-8")
    catalogue: dict[str, Any] = yaml.safe_load(text)
    return catalogue
