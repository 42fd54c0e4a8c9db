"""Further facts from genai-prices: windows, models that LiteLLM lacks, prices from a later day."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.metadata import version
from typing import Any, Final

from server.model_facts.litellm_price import plain
from server.model_facts.prune import pruned

_SELLERS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "x-ai": "xai",
    "deepseek": "deepseek",
    "moonshotai": "moonshot",
    "mistral": "mistral",
    "zai": "zai",
}
# Models on sale that LiteLLM's map lacks.
_ALSO: Final = frozenset(
    {
        ("anthropic", "claude-fable-5-2"),
        ("anthropic", "claude-mythos-5-2"),
        ("moonshot", "kimi-k2.7-code-highspeed"),
        ("openai", "gpt-oss-120b"),
        ("openai", "gpt-oss-20b"),
        ("zai", "glm-5.3-flashx"),
    }
)
_KEYS: Final = {
    "input_mtok": "in",
    "output_mtok": "out",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "write",
    "cache_write_1h_mtok": "write_1h",
    "input_audio_mtok": "audio_in",
    "output_audio_mtok": "audio_out",
}
_RELEASED: Final = re.compile(r"[Rr]eleased (?:on )?(\d{4}-\d{2}-\d{2})")


def genai_rows(read_on: date) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """Yields (seller, name in lower case, cells, whether it is a row of its own)."""
    from genai_prices.data_snapshot import get_snapshot

    cited = f"genai-prices {version('genai-prices')}"
    for provider in get_snapshot().providers:
        seller = _SELLERS.get(provider.id)
        for info in provider.models if seller is not None else ():
            name = info.id.lower()
            is_own = (seller, name) in _ALSO
            cells = _cells(info, read_on, with_price=is_own)
            if seller is not None and cells:
                source = {"source": cited, "read": read_on.isoformat()}
                yield seller, name, cells | source, is_own


def _cells(info: Any, read_on: date, *, with_price: bool) -> dict[str, Any]:
    released = _RELEASED.search(info.price_comments or "")
    later = _later_prices(info, read_on)
    cells = {
        "window": info.context_window,
        "released": None if released is None else released[1],
        "from": later,
    }
    if with_price:
        cells["price"] = _price(_in_force(info, read_on)) | _tiers(info)
    return pruned(cells)


def _in_force(info: Any, read_on: date) -> Any:
    prices = info.prices
    if not isinstance(prices, list):
        return prices
    latest = prices[0].prices
    for one in prices:
        start = getattr(one.constraint, "start_date", None)
        if start is not None and start <= read_on:
            latest = one.prices
    return latest


def _later_prices(info: Any, read_on: date) -> dict[str, Any]:
    if not isinstance(info.prices, list):
        return {}
    starts = ((getattr(one.constraint, "start_date", None), one.prices) for one in info.prices)
    return {
        start.isoformat(): _price(prices)
        for start, prices in starts
        if start is not None and start > read_on
    }


def _tiers(info: Any) -> dict[str, Any]:
    tiers = {}
    for variant in info.price_variants or ():
        when: Mapping[str, str] = variant.when
        name = when.get("speed") or when.get("processing") or when.get("service_tier")
        if name is not None and name != "default":
            tiers[name] = _price(variant.prices)
    return {"tiers": tiers} if tiers else {}


def _price(prices: Any) -> dict[str, Any]:
    cell: dict[str, Any] = {}
    for theirs, ours in _KEYS.items():
        price = getattr(prices, theirs, None)
        if price is None:
            continue
        tiers = getattr(price, "tiers", None)
        cell[ours] = plain(price if tiers is None else price.base)
        for tier in tiers or ():
            cell.setdefault("above", {}).setdefault(str(tier.start), {})[ours] = plain(tier.price)
    searches = getattr(prices, "web_searches_kcount", None)
    if searches is not None:
        usd = plain(searches / 1000)
        cell["search"] = dict.fromkeys(("low", "medium", "high"), usd)
    return cell
