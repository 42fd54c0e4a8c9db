"""The dashboard's page, files and numbers, as HTTP gives them; tests/e2e clicks through it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

import server.dashboard

CHAT: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": "canary"}]}
CONFIG = """
auth: {keys: [{name: team, key_env: A, budget_usd: 2, window_s: 3600},
              {name: boss, key_env: C, admin: true}]}
routing: {window_budgets: [{amount_usd: 5, window_s: 60}]}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "C": "key-c"}
DATA = ["overview", "requests", "sessions", "receipts", "spend", "savings", "models", "learning",
        "trials", "settings"]  # fmt: skip
BROWSER = {"accept": "text/html,*/*"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def locked(provider: FakeProvider) -> Iterator[httpx.Client]:
    with (
        LiveGateway(config_for(provider.base_url, CONFIG), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def read(client: httpx.Client, what: str) -> Any:
    answer = client.get(f"/admin/{what}", headers=bearer("key-c"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


@pytest.mark.slow
def test_only_an_admin_gets_in(locked: httpx.Client) -> None:
    for path in ["/", *(f"/admin/{name}" for name in DATA)]:
        assert locked.get(path).status_code == 401
        assert locked.get(path, headers=bearer("key-a")).status_code == 403
        assert locked.get(path, headers=bearer("key-c")).status_code == 200
    asked = locked.get("/", headers=BROWSER)
    assert asked.status_code == 401
    assert 'type="password"' in asked.text
    assert asked.headers["www-authenticate"] == "Bearer"


def test_without_keys_it_is_open_to_this_machine_by_its_own_name(client: httpx.Client) -> None:
    for path in ["/", *(f"/admin/{name}" for name in DATA)]:
        assert client.get(path).status_code == 200
        rebound = client.get(path, headers={"host": "attacker.example:8000"})
        assert rebound.status_code == 403
        assert rebound.json()["error"]["code"] == "misconfigured_origin"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_page_takes_nothing_from_elsewhere_and_runs_nothing_inline(
    client: httpx.Client, path: str
) -> None:
    page = client.get(path)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|https?://", page.text)
    files = set(re.findall(r'(?:src|href)="(/dashboard/[^"#]+)"', page.text))
    while files:
        path = files.pop()
        found = client.get(path)
        assert found.status_code == 200, path
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "https://" not in found.text
        again = client.get(path, headers={"if-none-match": found.headers["etag"]})
        assert again.status_code == 304
        files |= {f"/dashboard/{name}" for name in re.findall(r'from "\./(\w+\.js)"', found.text)}


def test_all_scripts_are_asked_for_at_once(client: httpx.Client) -> None:
    """And not one after another, as each says what it needs."""
    named = set(re.findall(r'href="/dashboard/(\w+\.js)"', client.get("/").text))
    needed, left = set[str](), {"main.js"}
    while left:
        name = left.pop()
        needed.add(name)
        text = client.get(f"/dashboard/{name}").text
        left |= set(re.findall(r'from "\./(\w+\.js)"', text)) - needed
    assert named == needed - {"main.js"}


def test_what_is_of_others_is_as_they_gave_it() -> None:
    """The library of the charts has its licence beside it, and the hash that the notice names."""
    folder = Path(server.dashboard.__file__).parent
    notice = (folder / "NOTICE").read_text()
    named = re.findall(r"sha256 of (\S+): ([0-9a-f]{64})", notice)
    assert {name for name, _ in named} == {"static/uplot.min.js", "static/uplot.min.css"}
    for name, digest in named:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "MIT License" in (folder / "static/uplot.license.txt").read_text()


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2f__init__.py", "%2e%2e/assets.py", "index.html"]
)
def test_there_are_no_other_files(client: httpx.Client, name: str) -> None:
    assert client.get(f"/dashboard/{name}").status_code == 404


@pytest.mark.slow
def test_what_it_shows_is_the_ledgers(locked: httpx.Client, provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(status=500), Behaviour())
    answers = [
        locked.post("/v1/chat/completions", json=CHAT, headers=bearer("key-a")) for _ in range(2)
    ]
    spent = sum(Decimal(answer.headers["x-p2l-cost-usd"]) for answer in answers)
    requests = read(locked, "requests")["data"]
    assert [row["outcome"] for row in requests] == ["answered", "answered", "unavailable"]
    assert [row["model"] for row in requests] == ["dear", "middle", "dear"]
    by_key = read(locked, "spend?by=key")
    assert by_key["data"][0]["group"] == "team"
    assert by_key["data"][0]["cost_usd"] == pytest.approx(float(spent))
    overview = read(locked, "overview")
    (main,) = overview["providers"]
    assert (main["attempts"], main["answered"], main["failed"]) == (3, 2, 1)
    windows = {(w["key"], w["window_s"]): w for w in overview["windows"]}
    assert windows.keys() == {(None, 60), ("team", 3600)}
    for window in windows.values():
        assert window["spent_usd"] == pytest.approx(float(spent), rel=1e-5)
    receipts = read(locked, "receipts")["data"]
    assert [row["request_id"] for row in receipts] == [
        answer.headers["x-request-id"] for answer in reversed(answers)
    ]
    assert all(row["explanation"].startswith(row["model"]) for row in receipts)
    older = read(locked, f"receipts?before_us={receipts[0]['created_us']}")["data"]
    assert [row["request_id"] for row in older] == [receipts[1]["request_id"]]
    whole = "".join(locked.get(f"/admin/{n}", headers=bearer("key-c")).text for n in DATA)
    assert "canary" not in whole


@pytest.mark.slow
def test_sessions_are_what_the_ledger_has_of_them(
    provider: FakeProvider, storage_url: str, tmp_path: Path
) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    cached = usage | {"prompt_tokens_details": {"cached_tokens": 750}}
    provider.script("up-dear", Behaviour(usage=usage), Behaviour(usage=cached))
    provider.script("up-cheap", Behaviour(status=500), Behaviour(usage=usage))
    keys = CONFIG.replace("name: team,", "name: team, session_budget_usd: 0.05,")
    storage = f'storage: {{url: "{storage_url}", spool_dir: "{tmp_path}/spool"}}\n'
    config = config_for(provider.base_url, keys + storage)
    with (
        LiveGateway(config, ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):

        def ask(session: str | None, model: str, key: str = "key-a", **headers: str) -> Decimal:
            sent = bearer(key) | {name.replace("_", "-"): v for name, v in headers.items()}
            if session is not None:
                sent["x-session-id"] = session
            body = CHAT | {"model": model, "max_tokens": 200}
            answer = http.post("/v1/chat/completions", json=body, headers=sent)
            return Decimal(answer.headers.get("x-p2l-cost-usd", "0"))

        cost = ask("canary-job", "dear", X_Session_Budget="0.04") + ask("canary-job", "dear")
        cost += ask("canary-job", "cheap") + ask("canary-job", "cheap") + ask("canary-job", "dear")
        ask("canary-other", "dear", key="key-c")
        ask(None, "dear", key="key-c")  # neither a name nor a budget
        other, one = read(http, "sessions")["data"]
        assert len(read(http, "sessions?limit=1")["data"]) == 1
    assert (one["key"], other["key"]) == ("team", "boss")
    assert len(one["session"]) == 32
    assert (one["requests"], one["under_way"]) == (5, 0)
    assert one["models"] == {"dear": 3, "cheap": 2}
    assert one["model_changes"] == 2
    assert one["cost_usd"] == pytest.approx(float(cost))
    assert one["prompt_tokens"] == 5_000
    assert one["cached_share"] == pytest.approx(1500 / one["prompt_tokens"])
    assert (one["budget_usd"], one["left_usd"]) == (0.04, pytest.approx(0.04 - float(cost)))
    assert (other["budget_usd"], other["left_usd"], other["model_changes"]) == (None, None, 0)
    assert "canary" not in str([one, other])


@pytest.mark.parametrize("before_us", ["-1", str(2**63)])
def test_a_time_no_database_can_hold_is_refused_by_name(
    locked: httpx.Client, before_us: str
) -> None:
    answer = locked.get(f"/admin/receipts?before_us={before_us}", headers=bearer("key-c"))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "before_us"


def test_savings_compare_with_always_the_best(locked: httpx.Client) -> None:
    for budget in ("1", "0.0001"):
        headers = bearer("key-a") | {"x-cost-budget": budget, "x-route-seed": "1"}
        locked.post("/v1/chat/completions", json=CHAT, headers=headers)
    locked.post("/v1/route", json=CHAT, headers=bearer("key-a"))  # not sent: nothing to compare
    found = read(locked, "savings")
    assert (found["requests"], found["best_model"]) == (2, "dear")
    always, routed = found["always_best"], found["routed"]
    assert always["expected_cost_usd"] > routed["expected_cost_usd"] > 0
    assert always["mean_win_rate"] > routed["mean_win_rate"]
    saved = always["expected_cost_usd"] - routed["expected_cost_usd"]
    assert found["saved_usd"] == pytest.approx(saved)
    assert found["saved_share"] == pytest.approx(saved / always["expected_cost_usd"])
    (day,) = found["by_day"]
    assert day["requests"] == 2
    assert day["always_usd"] - day["routed_usd"] == pytest.approx(saved)
    assert day["spent_usd"] == pytest.approx(found["spent_usd"])


def test_requests_are_filtered(locked: httpx.Client, provider: FakeProvider) -> None:
    provider.script("up-dear", Behaviour(status=500), Behaviour())
    for key in ("key-a", "key-c"):
        locked.post("/v1/chat/completions", json=CHAT, headers=bearer(key))
    shown = {
        query: [(row["key"], row["model"], row["outcome"]) for row in rows]
        for query in ("key=boss", "model=middle", "outcome=unavailable", "key=nobody",
                      "key=team&outcome=answered")
        for rows in [read(locked, f"requests?{query}")["data"]]
    }  # fmt: skip
    assert shown == {
        "key=boss": [("boss", "dear", "answered")],
        "model=middle": [("team", "middle", "answered")],
        "outcome=unavailable": [("team", "dear", "unavailable")],
        "key=nobody": [],
        "key=team&outcome=answered": [("team", "middle", "answered")],
    }


def test_models_say_where_they_stand_and_what_they_cost(locked: httpx.Client) -> None:
    answer = locked.post("/v1/chat/completions", json=CHAT, headers=bearer("key-a"))
    locked.post(
        "/v1/feedback",
        json={"request_id": answer.headers["x-request-id"], "rating": 1.0},
        headers=bearer("key-a"),
    )
    rows = read(locked, "models")["data"]
    assert [row["model"] for row in rows] == ["dear", "middle", "cheap"]
    dear = rows[0]
    assert dear["coefficient"] == pytest.approx(1.5)
    assert dear["interval80"] == [pytest.approx(1.5), pytest.approx(1.5)]
    assert dear["rests_on"] == "the leaderboard's own column"
    assert (dear["attempts"], dear["answers"]) == (1, 1)
    assert dear["mean_cost_usd"] == pytest.approx(float(answer.headers["x-p2l-cost-usd"]))
    learnt = read(locked, "learning")
    (seen,) = learnt["data"]
    assert (seen["model"], seen["ratings"], seen["comparisons"], seen["graded"]) == (
        "dear",
        1,
        0,
        0,
    )


def test_trials_and_where_they_stand(provider: FakeProvider) -> None:
    trial = "profiles: {best: {models: [dear, middle], trial: {models: [middle], share: 0.5}}}"
    config = config_for(provider.base_url, CONFIG.replace("routing: {", f"routing: {{{trial}, "))
    with (
        LiveGateway(config, ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        (row,) = read(http, "trials")["data"]
    assert (row["profile"], row["models"], row["share"]) == ("best", ["middle"], 0.5)
    assert (row["n_new"], row["n_usual"], row["verdict"], row["stopped_at"]) == (0, 0, "open", None)


@pytest.mark.slow
def test_a_model_without_votes_says_what_its_place_rests_on(provider: FakeProvider) -> None:
    config = config_for(provider.base_url, CONFIG).replace("  cheap:", "  gpt-5.2:")
    with (
        LiveGateway(config.replace(", cheap: -0.7", ", gpt-4: -0.7"), ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        rows = {row["model"]: row for row in read(http, "models")["data"]}
    placed, own = rows["gpt-5.2"], rows["middle"]
    assert own["rests_on"] == "the leaderboard's own column"
    assert "results" in placed["rests_on"] or "release" in placed["rests_on"]
    low, high = placed["interval80"]
    assert low < placed["coefficient"] < high
    assert high - low == pytest.approx(2 * 1.2816 * placed["sd"])


def test_settings_in_force_without_secrets(provider: FakeProvider) -> None:
    config = config_for(provider.base_url, CONFIG).replace("http://", "http://me:canary@")
    digest = "0" * 60 + "cafe"
    config = config.replace("{name: boss", f"{{name: old, key_sha256: {digest}}}, {{name: boss")
    with (
        LiveGateway(config, ENVIRON) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        rows = {row["path"]: row for row in read(http, "settings")["data"]}
    assert rows["models.dear.input_usd_per_mtok"] == {
        "path": "models.dear.input_usd_per_mtok", "value": "5", "is_set": True,
    }  # fmt: skip
    assert rows["providers.main.api_key_env"]["value"] == "MAIN_KEY"
    assert rows["limits.drain_s"] == {"path": "limits.drain_s", "value": 30.0, "is_set": False}
    assert rows["providers.main.base_url"]["value"].startswith("http://127.0.0.1")
    assert "canary" not in str(rows)
    assert "cafe" not in str(rows)


def test_a_rehearsal_may_leave_no_receipt(locked: httpx.Client) -> None:
    for query, kept in (("?receipt=false", 0), ("", 1)):
        answer = locked.post(f"/v1/route{query}", json=CHAT, headers=bearer("key-a"))
        assert answer.json()["model"] == "dear"
        assert len(read(locked, "receipts")["data"]) == kept


def test_a_bad_parameter_is_named(locked: httpx.Client) -> None:
    answer = locked.get("/admin/spend?by=prompt", headers=bearer("key-c"))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "by"
