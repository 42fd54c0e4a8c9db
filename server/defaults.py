"""The configuration of a user who has none: the keys at hand, or the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml

from server.settings import Settings

SANDBOX = "sandbox"


def default_settings(environ: Mapping[str, str]) -> Settings:
    """Providers whose keys are in the environment; without any, every model in the sandbox."""
    found = {key: part for key, part in _catalogue().items() if environ.get(key)}
    if not found:
        return Settings.model_validate(_sandboxed(_catalogue()))
    providers: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for variable, part in found.items():
        name = variable.removesuffix("_API_KEY").lower()
        providers[name] = part["provider"] | {"api_key_env": variable}
        models |= {model: card | {"provider": name} for model, card in part["models"].items()}
    return Settings.model_validate({"providers": providers, "models": models})


def is_sandbox_only(settings: Settings) -> bool:
    """Whether no answer will come from a model."""
    return all(provider.kind == SANDBOX for provider in settings.providers.values())


def known_variables() -> list[str]:
    """The variables that are looked at for keys."""
    return list(_catalogue())


def _sandboxed(catalogue: Mapping[str, Any]) -> dict[str, Any]:
    models = {
        model: card | {"provider": SANDBOX}
        for part in catalogue.values()
        for model, card in part["models"].items()
    }
    return {"providers": {SANDBOX: {"kind": SANDBOX}}, "models": models}


def _catalogue() -> dict[str, Any]:
    text = files("server").joinpath("default_catalogue.yaml").read_text(encoding="utf-8")
    catalogue: dict[str, Any] = yaml.safe_load(text)
    return catalogue
