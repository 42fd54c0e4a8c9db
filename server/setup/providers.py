"""The providers that a first configuration may name: those whose keys are in the environment, and
servers that the user names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from p2l_model.errors import DataError
from server.config.defaults import SANDBOX, default_catalogue, default_settings
from server.config.environment import variable
from server.config.settings import ProviderSettings
from server.model_facts import seller_of
from server.wire.hosts import is_loopback, is_public, literal_address, true_address

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ENDING: Final = "_API_KEY"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that may be configured. section: its keys in the configuration. settings: the
    same, checked. variable: where its key is looked for; None: a server without a key."""

    name: str
    section: Mapping[str, Any]
    settings: ProviderSettings
    variable: str | None

    @property
    def is_sandbox(self) -> bool:
        """Whether it answers without a model."""
        return self.settings.kind == SANDBOX

    @property
    def is_ones_own(self) -> bool:
        """Whether the server is on this machine or in a private network, where what it serves costs
        what its owner says."""
        host = urlsplit(self.settings.base_url or "").hostname or ""
        return is_loopback(host) or _is_private(host)

    @property
    def is_followed(self) -> bool:
        """Whether `models: auto` finds its models without asking it, by the table of facts."""
        return seller_of(self.settings.kind, self.settings.base_url) is not None


def known_names() -> list[str]:
    """The names of the providers that are known by themselves."""
    return [name_of(variable_) for variable_ in default_catalogue()]


def name_of(variable_: str) -> str:
    """A provider's name by the variable of its key."""
    return variable_.removesuffix(_ENDING).lower()


def with_keys(environ: Mapping[str, str]) -> list[str]:
    """The names of the providers whose keys are in the environment. Raises ConfigError where a file
    that a variable names cannot be read."""
    return [name_of(one) for one in default_catalogue() if variable(one, environ)]


def candidates(asked: Sequence[str], environ: Mapping[str, str]) -> list[Candidate]:
    """The providers that were asked for: NAME of a known one, NAME=URL, or sandbox.

    Raises DataError, which says what to write instead.
    """
    found: dict[str, Candidate] = {}
    for word in asked:
        for one in _candidates(word.strip(), environ):
            found[one.name] = one
    return list(found.values())


def _candidates(word: str, environ: Mapping[str, str]) -> list[Candidate]:
    name, given, url = word.partition("=")
    if name == SANDBOX and not given:
        return _sandboxes()
    catalogue = {name_of(one): (one, section) for one, section in default_catalogue().items()}
    if name not in catalogue and not given:
        raise DataError(
            f"--provider: {name!r} is not a provider that is known by itself: write one of "
            f"{', '.join(catalogue)}, {SANDBOX}, or NAME=URL for a server that speaks OpenAI's API"
        )
    if not _NAME.fullmatch(name):
        raise DataError(
            f"--provider: {name[:40]!r} cannot be a name: use lower-case letters, digits, - and _"
        )
    own: dict[str, Any] = {"kind": "openai"}
    variable_ = name.replace("-", "_").upper() + _ENDING
    if name in catalogue:
        variable_, own = catalogue[name]
    section = dict(own)
    if given:
        section["base_url"] = url
        if _is_private(urlsplit(url).hostname or ""):
            section["allow_private_addresses"] = True
    has_key = bool(variable(variable_, environ))
    if has_key or not given:
        section["api_key_env"] = variable_
    settings = _checked(name, section)
    return [Candidate(name, section, settings, variable_ if has_key or not given else None)]


def _sandboxes() -> list[Candidate]:
    """The providers of a gateway without any key, which answer without a model."""
    found = []
    for name, settings in default_settings({}).providers.items():
        section = {"kind": SANDBOX, "base_url": settings.base_url}
        found.append(Candidate(name, section, settings, None))
    return found


def _is_private(host: str) -> bool:
    try:
        literal = literal_address(host)
    except ValueError:
        return False
    if literal is None:
        return False
    address = true_address(literal)
    return not address.is_loopback and not is_public(address)


def _checked(name: str, section: Mapping[str, Any]) -> ProviderSettings:
    try:
        return ProviderSettings.model_validate(dict(section) | {"models": "auto"})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        said = first["msg"].removeprefix("Value error, ")
        # Not the address: it may hold a key, as in ?key=...
        raise DataError(f"--provider {name}: {said}") from None
