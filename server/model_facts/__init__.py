"""Facts about models: abilities, limits, prices, refused parameters, retirement."""

from __future__ import annotations

from server.model_facts.book import Book, Known, bundled_book, facts_of
from server.model_facts.price_table import PriceTable, Rates
from server.model_facts.sellers import seller_of
from server.model_facts.types import (
    EFFORTS,
    Caching,
    Capability,
    Effort,
    Limits,
    Messages,
    ModelFacts,
    Retirement,
    Sampling,
    Schemas,
    Source,
    Thinking,
    Tools,
)

__all__ = [
    "EFFORTS",
    "Book",
    "Caching",
    "Capability",
    "Effort",
    "Known",
    "Limits",
    "Messages",
    "ModelFacts",
    "PriceTable",
    "Rates",
    "Retirement",
    "Sampling",
    "Schemas",
    "Source",
    "Thinking",
    "Tools",
    "bundled_book",
    "facts_of",
    "seller_of",
]
