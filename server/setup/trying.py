"""Asks each provider for its own list of models, which shows whether its key works."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from server.catalogue.provider_lists import ListError, offered_models
from server.config.environment import variable
from server.config.file import ConfigError
from server.setup.providers import Candidate

# A key is tried at once or not at all: nobody waits longer than this for one provider.
TIMEOUT_S: Final = 5.0
_REFUSED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of asking a provider. offered: the models in its own list; None: it was not asked,
    or `problem` says why it gave none."""

    candidate: Candidate
    offered: list[str] | None = None
    problem: str | None = None

    @property
    def said(self) -> str:
        """The outcome in a few words."""
        if self.problem is not None:
            return self.problem
        if self.candidate.is_sandbox:
            return "answers without a model"
        if self.offered is None:
            return "not asked"
        key = "no key needed" if self.candidate.variable is None else "the key works"
        return f"{key}: {len(self.offered)} models in its list"


def not_asked(candidates: Sequence[Candidate], environ: Mapping[str, str]) -> list[Tried]:
    """The outcome where nobody is to be asked."""
    return [Tried(one, problem=_missing(one, environ) or _unlisted(one)) for one in candidates]


def _unlisted(candidate: Candidate) -> str | None:
    if candidate.is_followed or candidate.is_sandbox:
        return None
    return "only its own list says which models it has: leave --offline out"


async def try_all(
    candidates: Sequence[Candidate],
    environ: Mapping[str, str],
    today: date,
    timeout_s: float = TIMEOUT_S,
) -> list[Tried]:
    """Asks all of them at the same time. No error names a key."""
    tries = (_try(one, environ, today, timeout_s) for one in candidates)
    return list(await asyncio.gather(*tries))


async def _try(
    candidate: Candidate, environ: Mapping[str, str], today: date, timeout_s: float
) -> Tried:
    problem = _missing(candidate, environ)
    if problem is not None or candidate.is_sandbox:
        return Tried(candidate, problem=problem)
    name, settings = candidate.name, candidate.settings
    try:
        asking = offered_models(name, settings, environ, today, timeout_s=timeout_s)
        return Tried(candidate, offered=await asyncio.wait_for(asking, timeout_s))
    except TimeoutError:
        return Tried(candidate, problem=f"did not answer within {timeout_s:g} s")
    except ListError as error:
        return Tried(candidate, problem=_why(candidate, error))
    except (ConfigError, ValueError) as error:
        return Tried(candidate, problem=str(error).removeprefix(f"{name}: "))


def _missing(candidate: Candidate, environ: Mapping[str, str]) -> str | None:
    if candidate.variable is None or variable(candidate.variable, environ):
        return None
    return f"the variable {candidate.variable} is not set"


def _why(candidate: Candidate, error: ListError) -> str:
    if error.status in _REFUSED:
        where = "it wants a key"
        if candidate.variable is not None:
            where = f"the key in {candidate.variable} is refused"
        return f"{where} (status {error.status})"
    if error.status == 404 and candidate.settings.kind == "openai":
        return "has no list of models at this address (status 404): does it need to end in /v1?"
    return str(error).removeprefix(f"{candidate.name}: ")
