"""The dashboard in a browser, clicked through as a person would."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from browser import chromium
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = pytest.mark.slow

CONFIG = """
auth: {keys: [{name: team, key_env: A, budget_usd: 2, window_s: 3600},
              {name: boss, key_env: C, admin: true}]}
routing: {window_budgets: [{amount_usd: 5, window_s: 86400}],
          breaker: {consecutive_failures: 2, open_s: 600, max_open_s: 600}}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "C": "key-c"}
CHAT = {"model": "p2l", "messages": [{"role": "user", "content": "the canary sings"}]}
BOSS = {"authorization": "Bearer key-c"}
# The reason in a receipt is there, and is seen without scrolling.
REASON_IS_SEEN = """() => {
  const place = document.querySelector("#receipt-table td.wide")?.getBoundingClientRect();
  return place && place.width > 0 && place.right <= innerWidth;
}"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# where pictures for a person to look at go
PICTURES = os.environ.get("P2L_SCREENSHOTS")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)
    with chromium() as found:
        yield found


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(api_key="sk-provider-canary") as fake:
        yield fake


@pytest.fixture
def gateway(provider: FakeProvider) -> Iterator[LiveGateway]:
    with LiveGateway(config_for(provider.base_url, CONFIG), ENVIRON) as live:
        yield live


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    # a refusal of ours (401, a budget too small) is logged by the browser as a failed load
    assert [said for said in complaints if "Failed to load resource" not in said] == []


def ask(url: str, budget: str, session: str | None = None, money: str | None = None) -> str:
    headers = {"authorization": "Bearer key-a", "x-cost-budget": budget, "x-route-seed": "1"}
    if session is not None:
        headers["x-session-id"] = f"canary {session}"
    if money is not None:
        headers["x-session-budget"] = money
    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"]


def picture(page: Page, name: str) -> None:
    if PICTURES is not None:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def sign_in(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Admin key").fill("key-c")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def receipts_of(page: Page) -> Locator:
    return page.get_by_role("region", name="Table of receipts")


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name, level=2)).to_be_visible()


def test_a_key_that_is_not_an_admins_is_refused(page: Page, gateway: LiveGateway) -> None:
    page.goto(gateway.url)
    for key, said in (("nobody's", "unknown"), ("key-a", "admin key")):
        page.get_by_label("Admin key").fill(key)
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_contain_text(said)
    picture(page, "sign-in")


def test_the_tour(page: Page, gateway: LiveGateway, provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(status=500), Behaviour(status=500), Behaviour())
    ids = [ask(gateway.url, budget) for budget in ("0.01", "0.01", "0.0003", "0.0001")]
    sign_in(page, gateway.url)

    # what was saved and spent
    expect(page.locator("#saved")).to_contain_text("against always")
    expect(page.get_by_role("img", name="Expected costs by day: always")).to_be_visible()
    expect(page.get_by_role("img", name="the most on")).to_be_visible()
    expect(page.get_by_role("region", name="Table of spend")).to_contain_text("team")
    page.get_by_label("By", exact=True).select_option("model")
    expect(page.get_by_role("region", name="Table of spend")).to_contain_text("middle")
    picture(page, "overview")

    # a prompt, and the mix that moves with the budget, by keyboard alone
    go(page, "Playground")
    page.get_by_label("Prompt", exact=True).fill("Prove it.")
    page.get_by_role("button", name="Show its leaderboard").press("Enter")
    board = page.get_by_role("region", name="Leaderboard of the prompt")
    expect(board.get_by_role("row")).to_have_count(4)  # ours; the others are folded away
    page.get_by_text("All 4 models of the leaderboard").click()
    others = page.get_by_role("region", name="All models of the leaderboard")
    expect(others).to_contain_text("elsewhere")
    slider = page.get_by_label("Budget per request")
    slider.press("End")
    mix = page.get_by_role("list", name="The mix at this budget")
    expect(mix).to_have_text("middle: 100.0%")  # dear's breaker is open
    for _ in range(5):
        slider.press("PageDown")
    expect(mix.get_by_role("listitem")).to_have_count(2)
    expect(page.locator("#sentence")).to_contain_text("drawn from")
    plane = page.get_by_role("img")
    expect(plane).to_have_accessible_name(re.compile("Corners of the hull: cheap .* the mix wins"))
    slider.press("Home")
    expect(page.locator("#sentence")).to_contain_text("cheap")

    kept = "/admin/receipts?limit=200"
    known = httpx.get(gateway.url + kept, headers=BOSS, trust_env=False).json()["data"]
    assert {row["request_id"] for row in known} == set(ids), "moving the slider keeps no receipt"
    picture(page, "playground")

    # what has happened
    go(page, "Requests")
    live = page.get_by_role("region", name="Table of live requests")
    expect(live.get_by_role("row")).to_have_count(7)  # four answers, two failures, the head
    expect(live).to_contain_text("unavailable")
    page.get_by_label("Outcome").select_option("unavailable")
    expect(live.get_by_role("row")).to_have_count(3)
    page.get_by_label("Outcome").select_option("all")
    expect(live.get_by_role("row")).to_have_count(7)

    # a new request appears by itself
    new = ask(gateway.url, "0.0001")
    expect(live.get_by_role("button", name=new)).to_be_visible()

    # a receipt by its id, and one by a click
    page.get_by_label("Request id").fill(ids[2])
    page.get_by_label("Request id").press("Enter")
    expect(page.get_by_role("heading", name=ids[2])).to_be_visible()
    expect(page.locator("#receipt-sentence")).to_contain_text(" at ")
    expect(page.locator("#receipt")).to_contain_text(
        "Its budget was $0.000300, to hold on average."
    )
    page.get_by_label("Request id").fill("req_of_nobody")
    page.get_by_label("Request id").press("Enter")
    expect(page.locator("#receipt")).to_contain_text("There is no decision")
    receipts_of(page).get_by_role("button", name=ids[0]).click()
    expect(page.get_by_role("heading", name=ids[0])).to_be_visible()
    expect(page.locator("#receipt")).to_contain_text("dear failed: UpstreamUnavailable")
    assert "canary" not in page.content()
    picture(page, "requests")

    # it stays open, at the same place, when the page is loaded again, in this tab only
    page.reload()
    expect(page.get_by_role("heading", name=ids[0])).to_be_visible()
    page.go_back()
    expect(page.locator("#receipt")).to_contain_text("There is no decision")

    go(page, "Models")
    expect(page.get_by_role("region", name="Table of models")).to_contain_text("open (resting)")
    places = page.get_by_role("region", name="Table of places")
    expect(places.get_by_role("row").nth(1)).to_contain_text("the leaderboard's own column")
    picture(page, "models")


def test_keys_are_created_limited_and_revoked(page: Page, gateway: LiveGateway) -> None:
    sign_in(page, gateway.url)
    go(page, "Keys and budgets")
    windows = page.get_by_role("list", name="Window budgets")
    expect(windows).to_contain_text("all keys together")
    expect(windows).to_contain_text("key team")
    table = page.get_by_role("region", name="Table of keys")
    expect(table).to_contain_text("No key is stored yet")
    page.get_by_label("Name", exact=True).fill("alice")
    page.get_by_label("Budget in USD", exact=True).fill("0,5")
    page.get_by_role("button", name="Create the key").click()
    expect(page.get_by_role("alert")).to_contain_text("budget_usd")
    page.get_by_label("Budget in USD", exact=True).fill("0.5")
    page.get_by_label("The budget is").select_option("in any day")
    page.get_by_label("Models, separated by commas").fill("cheap, middle")
    page.get_by_role("button", name="Create the key").press("Enter")
    expect(page.locator("#new-key")).to_contain_text("sk-p2l-")
    secret = page.locator("#new-key").inner_text()
    expect(table.get_by_role("row").filter(has_text="alice")).to_contain_text("$0.500 in any day")
    expect(windows).to_contain_text("key alice")

    def answer() -> int:
        headers = {"authorization": f"Bearer {secret}"}
        url = f"{gateway.url}/v1/chat/completions"
        return httpx.post(url, json=CHAT, headers=headers, trust_env=False).status_code

    assert answer() == 200
    page.get_by_role("button", name="Change the limits of alice").click()
    expect(page.get_by_label("Name", exact=True)).to_be_disabled()
    expect(page.get_by_label("Models, separated by commas")).to_have_value("cheap, middle")
    page.get_by_label("Requests per minute").fill("1")
    page.get_by_role("button", name="Change the limits", exact=True).click()
    expect(table).to_contain_text("1 requests")
    expect(page.get_by_role("heading", name="Create a key")).to_be_visible()
    page.get_by_role("button", name="Revoke alice").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Revoke alice").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").press("Enter")
    expect(table).to_contain_text("revoked 20")
    assert answer() == 401
    picture(page, "keys")


CROWD = """
() => {
  const boxes = (selector) => [...document.querySelectorAll(selector)].map((one) => {
    const { left, top, right, bottom } = one.getBoundingClientRect();
    return [left + 1, top + 2, right - 1, bottom - 2];
  });
  return { frame: boxes("svg.plane")[0], names: boxes("svg.plane text.name") };
}
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_names_in_the_plane_keep_apart(
    browser: Browser, provider: FakeProvider, width: int
) -> None:
    more = [f"a-rather-long-name-{k}" for k in range(8)]
    rows = "".join(
        f"  {name}: {{provider: main, input_usd_per_mtok: {1 + k / 4}, output_usd_per_mtok: "
        f"{3 + k}, expected_output_tokens: 100}}\n"
        for k, name in enumerate(more)
    )
    scores = "".join(f", {name}: {0.4 + k / 20}" for k, name in enumerate(more))
    config = config_for(provider.base_url).replace("  cheap:", f"{rows}  cheap:")
    config = config.replace(", cheap: -0.7", f", cheap: -0.7{scores}")
    with LiveGateway(config, ENVIRON) as gateway:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(f"{gateway.url}/#playground")
        page.get_by_role("button", name="Show its leaderboard").click()
        expect(page.locator("svg.plane text.name").first).to_be_visible()
        seen = page.evaluate(CROWD)
        left, top, right, bottom = seen["frame"]
        names = seen["names"]
        assert len(names) >= 5
        for k, (x0, y0, x1, y1) in enumerate(names):
            assert left <= x0
            assert x1 <= right
            assert top <= y0
            assert y1 <= bottom
            for a0, b0, a1, b1 in names[k + 1 :]:
                assert a0 > x1 or a1 < x0 or b0 > y1 or b1 < y0, "one name covers another"
        page.close()


def test_what_is_paused_stays(page: Page, gateway: LiveGateway) -> None:
    sign_in(page, gateway.url)
    go(page, "Requests")
    live = page.get_by_role("region", name="Table of live requests")
    page.get_by_role("button", name="Pause").press("Enter")
    later = ask(gateway.url, "0.0001")
    expect(page.get_by_role("button", name="Go on")).to_have_attribute("aria-pressed", "true")
    expect(receipts_of(page).get_by_role("button", name=later)).to_be_visible()
    expect(live.get_by_role("button", name=later)).to_have_count(0)
    page.get_by_role("button", name="Go on").press("Enter")
    expect(live.get_by_role("button", name=later)).to_be_visible()


def test_without_keys_it_says_how_to_have_some(page: Page, provider: FakeProvider) -> None:
    with LiveGateway(config_for(provider.base_url), ENVIRON) as open_gateway:
        page.goto(f"{open_gateway.url}/#keys")
        table = page.get_by_role("region", name="Table of keys")
        expect(table).to_contain_text("p2l-router keys create boss --admin")
        expect(page.get_by_role("button", name="Create the key")).to_be_hidden()


def test_a_rating_of_ones_own_answer(page: Page, gateway: LiveGateway) -> None:
    url = f"{gateway.url}/v1/chat/completions"
    mine = httpx.post(url, json=CHAT, headers=BOSS, trust_env=False).headers["x-request-id"]
    other = ask(gateway.url, "0.01")
    sign_in(page, gateway.url)
    page.goto(f"{gateway.url}/#requests/{other}")
    page.get_by_role("button", name="Good").click()
    expect(page.locator("#receipt")).to_contain_text("of this key")
    page.goto(f"{gateway.url}/#requests/{mine}")
    page.get_by_role("button", name="Good").click()
    expect(page.locator("#receipt")).to_contain_text("Noted")
    go(page, "Learn and trials")
    answers = page.get_by_role("region", name="Table of answers")
    expect(answers.get_by_role("row").nth(1)).to_contain_text("dear")
    expect(page.locator("#learning")).to_contain_text("on: 1 seen")
    trials = page.get_by_role("region", name="Table of trials")
    expect(trials).to_contain_text("No trial. routing.profiles.NAME.trial")
    picture(page, "learn")


def test_settings_are_found(page: Page, gateway: LiveGateway) -> None:
    sign_in(page, gateway.url)
    go(page, "Settings")
    table = page.get_by_role("region", name="Table of settings")
    expect(table).to_contain_text("models.dear.input_usd_per_mtok")
    expect(table).not_to_contain_text("limits.drain_s")
    page.get_by_label("Only what the configuration sets").uncheck()
    page.get_by_label("Find").fill("drain")
    expect(table.get_by_role("row")).to_have_count(2)
    expect(table).to_contain_text("limits.drain_s")
    expect(table).to_contain_text("default")
    picture(page, "settings")


PAGES = ["Overview", "Playground", "Requests", "Models", "Keys and budgets", "Learn and trials",
         "Settings"]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits_a_phone(
    browser: Browser, gateway: LiveGateway, scheme: Literal["light", "dark"]
) -> None:
    """By axe-core, with no request yet and with some; nothing makes a page of 390 pixels wider."""
    axe = (Path(__file__).parents[1] / "support/axe/axe.min.js").read_text()
    for width in (1280, 390):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
        )
        page = context.new_page()
        sign_in(page, gateway.url)
        for name in PAGES:
            go(page, name)
            if name == "Playground":
                page.get_by_role("button", name="Show its leaderboard").click()
                expect(page.get_by_role("img")).to_be_visible()
            if name == "Requests" and width == 390:
                page.get_by_role("button", name="Receipt ").first.click()
                expect(page.locator("#receipt-sentence")).to_be_visible()
                page.wait_for_function(REASON_IS_SEEN)
            page.wait_for_load_state("networkidle")
            assert page.evaluate(OVERFLOW) == 0, (name, width)
            page.evaluate(axe)
            found = page.evaluate("axe.run(document)")["violations"]
            said = [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]
            assert said == [], (name, width)
            picture(page, f"{name.split()[0].lower()}-{width}-{scheme}")
        context.close()
        ask(gateway.url, "0.01", "job", money="0.05")


def test_the_api_is_described_without_the_internet(browser: Browser, gateway: LiveGateway) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{gateway.url}/docs")
    page.get_by_text("/v1/route", exact=True).click()
    expect(page.get_by_text("nothing is sent")).to_be_visible()
    assert all(url.startswith(gateway.url) for url in asked)
    assert page.evaluate(OVERFLOW) == 0
    picture(page, "api")
    context.close()


def test_without_a_request_it_says_how_to_send_one(page: Page, gateway: LiveGateway) -> None:
    sign_in(page, gateway.url)
    expect(page.get_by_role("heading", name="No request yet")).to_be_visible()
    expect(page.locator("#welcome-line")).to_contain_text(f"{gateway.url}/v1/chat/completions")
    ask(gateway.url, "0.01")
    page.reload()
    expect(page.locator("#saved")).to_contain_text("against always")
    expect(page.get_by_role("heading", name="No request yet")).to_be_hidden()


@pytest.mark.parametrize("config", [CONFIG, ""])
def test_a_press_before_the_scripts_are_there_is_not_lost(
    browser: Browser, provider: FakeProvider, config: str
) -> None:
    with LiveGateway(config_for(provider.base_url, config), ENVIRON) as gateway:
        page = browser.new_page()
        page.route("**/dashboard/prompt.js", lambda route: (time.sleep(1), route.continue_()))
        if config:
            sign_in(page, gateway.url)
        else:
            page.goto(gateway.url, wait_until="commit")
        # every form is there; the one that is shown is pressed
        page.get_by_role("navigation").get_by_role("link", name="Playground").click()
        page.get_by_role("button", name="Show its leaderboard").click()
        expect(page.get_by_role("img")).to_be_visible()
        page.close()


def test_narrow_and_dark(browser: Browser, gateway: LiveGateway) -> None:
    ask(gateway.url, "0.01")
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    sign_in(page, gateway.url)
    go(page, "Playground")
    page.get_by_role("button", name="Show its leaderboard").click()
    expect(page.get_by_role("img")).to_be_visible()
    assert page.evaluate(OVERFLOW) == 0, "only tables scroll sideways, not the page"
    go(page, "Requests")
    expect(
        page.get_by_role("region", name="Table of live requests").get_by_role("row")
    ).to_have_count(2)
    assert page.evaluate(OVERFLOW) == 0, "only tables scroll sideways, not the page"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(20, 23, 29)"
    picture(page, "narrow")
    context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "dark")])
def test_sessions(browser: Browser, gateway: LiveGateway, width: int, scheme: str) -> None:
    ask(gateway.url, "1", "a", money="0.05")
    ask(gateway.url, "0.0001", "a")
    ask(gateway.url, "1", "b")
    ask(gateway.url, "1", "spent", money="0.0035")
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    sign_in(page, gateway.url)
    go(page, "Requests")
    table = page.get_by_role("region", name="Table of sessions")
    expect(table.get_by_role("row")).to_have_count(4)
    job = table.get_by_role("row").filter(has_text="of $0.0500")
    expect(job).to_contain_text("team")
    expect(job).to_contain_text("cheap (1), dear (1)")
    expect(table).to_contain_text("no budget")
    page.get_by_label("Used in the last").select_option("24 hours")
    expect(table.get_by_role("row")).to_have_count(4)
    assert page.evaluate(OVERFLOW) == 0, "only tables scroll sideways, not the page"
    go(page, "Overview")
    page.get_by_label("By", exact=True).select_option("session")
    expect(page.get_by_role("region", name="Table of spend").get_by_role("row")).to_have_count(4)
    assert page.evaluate(OVERFLOW) == 0, "only tables scroll sideways, not the page"
    assert "canary" not in page.content()
    picture(page, f"sessions-{width}-{scheme}")
    context.close()


def test_a_hostile_model_name_stays_text(browser: Browser, provider: FakeProvider) -> None:
    name = "<img src=x onerror=alert(1)>"
    config = config_for(provider.base_url, CONFIG).replace("  cheap:", f'  "{name}":')
    config = config.replace("cheap: -0.7", f'"{name}": -0.7')
    with LiveGateway(config, ENVIRON) as gateway:
        ask(gateway.url, "0.0001", "job")
        page = browser.new_page()
        sign_in(page, gateway.url)
        go(page, "Playground")
        page.get_by_role("button", name="Show its leaderboard").click()
        expect(page.get_by_role("region", name="Leaderboard of the prompt")).to_contain_text(name)
        go(page, "Requests")
        expect(page.get_by_role("region", name="Table of live requests")).to_contain_text(name)
        expect(page.get_by_role("region", name="Table of sessions")).to_contain_text(name)
        go(page, "Models")
        expect(page.get_by_role("region", name="Table of places")).to_contain_text(name)
        assert page.locator("img").count() == 0
        page.close()
