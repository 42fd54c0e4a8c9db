"""The alert rules, Prometheus' configuration and Grafana's dashboard, on a real Prometheus that
reads a real gateway and a real model service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for
from live_model import LiveModel
from services import free_port

from p2l_model.checkpoint.folder import resolve_checkpoint

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
BOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "p2l-router.json").read_text())
AUTH = """
auth: {keys: [{name: team, key_env: A}, {name: boss, key_env: C, admin: true}]}
routing: {window_budgets: [{amount_usd: 5, window_s: 60}]}
"""
ENVIRON = {"MAIN_KEY": "sk-provider-canary", "A": "key-a", "C": "key-c"}


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return found


def promtool(*words: str) -> None:
    command = [program("promtool"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


@pytest.mark.slow
def test_the_rules_fire_when_they_should() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(RULES.with_name("alerts_test.yml")))


def test_every_alert_has_a_section_in_the_runbook() -> None:
    runbook = (DEPLOY.parent / "docs" / "runbook.md").read_text()
    for rule in alerts():
        assert f"## {rule['alert']}\n" in runbook
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_board_is_whole() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    sources = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    known = {source["uid"] for source in sources["datasources"]}
    covered: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & covered, f"{panel['title']} lies over another panel"
        covered |= cells
    for panel in panels():
        assert {target["datasource"]["uid"] for target in panel["targets"]} <= known


class Prometheus:
    def __init__(self, folder: Path, gateway: str, model: str) -> None:
        config = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        config = config.replace("/etc/prometheus/alerts.yml", str(RULES)).replace("15s", "1s")
        config = config.replace("gateway:8000", gateway).replace("scorer:8001", model)
        for name, key in (("admin_key", "key-c"), ("model_key", "key-m")):
            (folder / name).write_text(key)
            config = config.replace(f"/run/secrets/{name}", str(folder / name))
        (folder / "prometheus.yml").write_text(config)
        promtool("check", "config", str(folder / "prometheus.yml"))
        port = free_port()
        self._process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False)

    def get(self, path: str, **params: str) -> Any:
        return self._http.get(path, params=params).raise_for_status().json()["data"]

    def query(self, expr: str) -> list[Any]:
        found: list[Any] = self.get("/query", query=expr)["result"]
        return found

    def wait_until(self, expr: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                if self.query(expr):
                    return
            except (httpx.TransportError, httpx.HTTPStatusError):
                pass
            assert time.monotonic() < deadline, f"never: {expr}"
            time.sleep(0.2)

    def stop(self) -> None:
        self._http.close()
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program("prometheus")
    with (
        FakeProvider(api_key="sk-provider-canary") as provider,
        LiveModel(resolve_checkpoint("bundled"), key="key-m") as model,
        LiveGateway(config_for(provider.base_url, AUTH), ENVIRON) as gateway,
    ):
        bearer = {"authorization": "Bearer key-a"}
        chat = {"model": "p2l", "messages": [{"role": "user", "content": "hi"}]}
        for _ in range(3):
            httpx.post(f"{gateway.url}/v1/chat/completions", json=chat, headers=bearer)
        httpx.post(
            f"{model.url}/predict", json={"prompt": ["hi"]}, headers={"api-key": "key-m"}
        ).raise_for_status()
        server = Prometheus(tmp_path_factory.mktemp("prometheus"), gateway.url[7:], model.url[7:])
        try:
            server.wait_until("count(up == 1) == 2")
            yield server
        finally:
            server.stop()


@pytest.mark.slow
def test_the_rules_load_and_both_services_are_read(prometheus: Prometheus) -> None:
    groups = prometheus.get("/rules")["groups"]
    loaded = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert loaded.keys() == {rule["alert"] for rule in alerts()}
    prometheus.wait_until("p2l_gateway_storage_up == 1")
    assert prometheus.query('ALERTS{alertname!="P2LProviderFailing"}') == []


@pytest.mark.slow
def test_every_metric_that_is_asked_for_exists(prometheus: Prometheus) -> None:
    asked = [rule["expr"] for rule in alerts()]
    asked += [target["expr"] for panel in panels() for target in panel["targets"]]
    known = {row["metric"]["__name__"] for row in prometheus.query('{__name__=~"p2l_.+"}')}
    helped = set(prometheus.get("/metadata"))
    for expr in asked:
        expr = expr.replace("$__rate_interval", "1m")
        prometheus.query(expr)
        for name in re.findall(r"\bp2l_\w+", expr):
            assert name in known | helped, f"{name} is not a metric of ours"
