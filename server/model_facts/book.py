"""The table of facts: rows of a file, combined with the rules for families of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from server.model_facts.names import canonical, spellings, undated
from server.model_facts.overrides import Overrides, overridden
from server.model_facts.row import Row, RowFacts, read_row
from server.model_facts.rules import family_of
from server.model_facts.rules.family import Family
from server.model_facts.types import Caching, Limits, ModelFacts, Source

# Vendors that sell their own models, in the order in which a name without a seller is looked up.
VENDORS: Final = (
    "openai",
    "anthropic",
    "google",
    "xai",
    "deepseek",
    "moonshot",
    "mistral",
    "zai",
    "alibaba",
    "cohere",
    "minimax",
)


BUNDLED: Final = "bundled"


# The facts about a model, by its name at a provider.
Known = Callable[[str], ModelFacts]


class Book:
    """Rows by seller and name.

    as_of: the day on which its sources were read. where: the file that it came from.
    """

    def __init__(self, document: Mapping[str, Any], where: str) -> None:
        """document: the file's content. Raises KeyError, TypeError, ValueError for an invalid
        one."""
        self.as_of = date.fromisoformat(document["as_of"])
        self.where = where
        self._rows: dict[str, dict[str, Row]] = {}
        self._names: dict[str, dict[str, str]] = {}
        for seller, rows in document["rows"].items():
            self._rows[seller] = dict(rows)
            self._names[seller] = {name.lower(): name for name in rows}
        self._aliases: dict[str, dict[str, str]] = {
            seller: dict(aliases) for seller, aliases in document.get("aliases", {}).items()
        }
        self._made: dict[tuple[str, str | None], ModelFacts] = {}

    def facts_of(
        self, name: str, seller: str | None = None, overrides: Overrides | None = None
    ) -> ModelFacts:
        """The facts about a model. It never fails: a model that is not in the table gets the rules
        for similar names, and one of no known family gets facts that refuse nothing.

        name: in any spelling. seller: from sellers.seller_of, None where it is unknown. overrides:
        part of the record -> cells from the configuration.
        """
        key = (name, seller)
        if key not in self._made:
            self._made[key] = self._make(name, seller)
        return overridden(self._made[key], overrides or {})

    def models(self) -> Iterator[tuple[str, str]]:
        """Yields (seller, name) for all rows."""
        for seller, rows in self._rows.items():
            for name in rows:
                yield seller, name

    def row(self, seller: str, name: str) -> Row | None:
        """A row as it is in the file."""
        return self._rows.get(seller, {}).get(name)

    def _make(self, name: str, seller: str | None) -> ModelFacts:
        vendors = self._at_vendor(name)
        sellers = None if seller is None else self._find(name, seller)
        found = sellers or vendors
        shown = name if found is None else found[1]
        family = family_of(canonical(shown)) or family_of(undated(canonical(name)))
        facts = _of_family(shown, seller, family)
        own = None if vendors is None else read_row(self._rows[vendors[0]][vendors[1]])
        if own is not None and vendors is not None:
            facts = replace(_with_row(facts, own), vendor=vendors[0])
            facts = replace(facts, vendor_retirement=own.retirement, retirement=None)
        if sellers is not None:
            facts = _with_row(facts, read_row(self._rows[sellers[0]][sellers[1]]))
        facts = facts if seller in (None, facts.vendor, "azure") else _at_reseller(facts)
        return replace(facts, aliases=self._aliases_of(found))

    def _at_vendor(self, name: str) -> tuple[str, str] | None:
        for vendor in VENDORS:
            found = self._find(name, vendor)
            if found is not None:
                return found
        return None

    def _find(self, name: str, seller: str) -> tuple[str, str] | None:
        names, aliases = self._names.get(seller), self._aliases.get(seller, {})
        if names is None:
            return None
        for spelling in spellings(name):
            found = names.get(aliases.get(spelling, spelling))
            if found is not None:
                return seller, found
        return None

    def _aliases_of(self, found: tuple[str, str] | None) -> tuple[str, ...]:
        if found is None:
            return ()
        seller, name = found
        aliases = self._aliases.get(seller, {})
        return tuple(sorted(alias for alias, target in aliases.items() if target == name.lower()))


def _of_family(name: str, seller: str | None, family: Family | None) -> ModelFacts:
    if family is None:
        return ModelFacts(name=name, seller=seller)
    parts = ("sampling", "thinking", "tools", "schemas", "messages", "caching")
    return ModelFacts(
        name=name,
        known="family",
        vendor=family.vendor,
        seller=seller,
        can=family.capabilities,
        lacks=family.lacks,
        sampling=family.sampling,
        thinking=family.thinking,
        tools=family.tools,
        schemas=family.schemas,
        messages=family.messages,
        caching=family.caching,
        sources=dict.fromkeys(parts, family.source),
    )


def _with_row(facts: ModelFacts, row: RowFacts) -> ModelFacts:
    """A row's cells on top of the facts so far. The rules are more reliable than a price list about
    what a model lacks and can do."""
    said = {
        "limits": row.limits != Limits(),
        "capabilities": bool(row.can or row.cannot),
        "prices": row.prices is not None,
    }
    sources: dict[str, Source] = dict(facts.sources)
    sources |= {part: row.source for part, is_said in said.items() if is_said}
    return replace(
        facts,
        known="model",
        limits=_merged(row.limits, facts.limits),
        can=(facts.can | row.can) - facts.lacks,
        lacks=(facts.lacks | row.cannot) - facts.can,
        endpoints=row.endpoints or facts.endpoints,
        prices=row.prices or facts.prices,
        retirement=row.retirement,
        caching=_cached(facts.caching, row),
        released=row.released or facts.released,
        expected_output_tokens={**facts.expected_output_tokens, **row.expected_output_tokens},
        sources=sources,
    )


def _merged(first: Limits, second: Limits) -> Limits:
    cells = Limits.__dataclass_fields__
    known = {cell: getattr(first, cell) for cell in cells if getattr(first, cell) is not None}
    return replace(second, **known)


def _cached(caching: Caching, row: RowFacts) -> Caching:
    least = row.least_cached_tokens
    return caching if least is None else replace(caching, least_tokens=least)


def _at_reseller(facts: ModelFacts) -> ModelFacts:
    """Refusals of OpenAI's own Chat Completions do not apply at a reseller."""
    return replace(facts, tools=replace(facts.tools, on_chat_completions="ok"))


@cache
def bundled_book() -> Book:
    """The table that this version contains."""
    path = Path(__file__).with_name("facts.json")
    return Book(orjson.loads(path.read_bytes()), BUNDLED)


def facts_of(
    name: str, seller: str | None = None, overrides: Overrides | None = None
) -> ModelFacts:
    """Book.facts_of the bundled table. Where there is a configuration,
    configured_facts.facts_of_models gives the facts in force."""
    return bundled_book().facts_of(name, seller, overrides)
