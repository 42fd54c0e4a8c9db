"""What a browser loads for each page of the dashboard, and how soon it shows something.

    python benchmarks/bench_dashboard.py

Chromium without a screen, a gateway on this machine, the median of five loads without a cache.
Bytes are those of the bodies, which are sent as they are.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from browser import chromium
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for
from playwright.sync_api import Browser

PAGES = ("overview", "playground", "requests", "models", "keys", "learn", "settings")
LOADS = 5
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
LOADED = """['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind)).reduce(
  (sum, one) => sum + one.decodedBodySize, 0)"""
READY = "!document.getElementById('main').inert"


def load(browser: Browser, url: str, page_name: str) -> tuple[float, float, int, int]:
    """Milliseconds to the first paint and until it can be used, bytes, requests."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/#{page_name}")
    page.wait_for_function(READY)
    ready = page.evaluate("performance.now()")
    page.wait_for_load_state("networkidle")
    found = (
        page.evaluate(PAINTED),
        ready,
        page.evaluate(LOADED),
        page.evaluate("performance.getEntriesByType('resource').length + 1"),
    )
    context.close()
    return found


def main() -> None:
    with (
        FakeProvider() as provider,
        LiveGateway(config_for(provider.base_url), {"MAIN_KEY": "sk"}) as gateway,
        chromium() as browser,
    ):
        load(browser, gateway.url, "overview")
        print(f"{'page':12}{'first paint':>12}{'usable':>10}{'KB':>8}{'requests':>10}")
        for name in PAGES:
            runs = [load(browser, gateway.url, name) for _ in range(LOADS)]
            paint, ready, size, n = (statistics.median(one) for one in zip(*runs, strict=True))
            print(f"{name:12}{paint:9.0f} ms{ready:7.0f} ms{size / 1000:8.0f}{n:10.0f}")


if __name__ == "__main__":
    main()
