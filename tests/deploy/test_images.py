"""The images and deploy/compose.yaml, built, run and asked."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from compose_stack import DEPLOY, Stack, build_images, image_tools, need_ports
from openai import APIStatusError, OpenAI
from outward import outward

pytestmark = [pytest.mark.image, pytest.mark.slow]
SERVICES = ("postgres", "redis", "model", "gateway")


@pytest.fixture(scope="module")
def tools() -> Path:
    found = image_tools()
    build_images(found)
    return found


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    subprocess.run([str(DEPLOY / "secrets.sh"), str(folder)], check=True, capture_output=True)
    tmp_path.chmod(0o755)
    return folder


@pytest.fixture
def client(secrets: Path) -> Iterator[OpenAI]:
    with OpenAI(
        base_url="http://127.0.0.1:8000/v1",
        api_key=(secrets / "router_key").read_text(),
        max_retries=0,
        timeout=30,
        http_client=httpx.Client(trust_env=False),
    ) as found:
        yield found


@pytest.mark.parametrize("env_file", [None, "full.env", "gpu.env"])
def test_the_compose_file_is_valid(tools: Path, env_file: str | None) -> None:
    lines = [] if env_file is None else (DEPLOY / env_file).read_text().split()
    environ = {**os.environ, **dict(line.split("=", 1) for line in lines)}
    done = subprocess.run(
        [str(tools / "compose"), str(DEPLOY / "compose.yaml"), "config", "--quiet"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_program_in_the_image_speaks_to_nobody(tools: Path, tmp_path: Path) -> None:
    heard = outward(tmp_path)
    tmp_path.chmod(0o777)
    heard.home.chmod(0o777)  # the image's user is not this one
    image = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["gateway"]["image"]
    given = [f"--env={name}={value}" for name, value in heard.environ.items()]
    run = [str(tools / "run"), image, *given, f"--volume={tmp_path}:{tmp_path}"]
    told = subprocess.run(
        [*run, "--", "leaderboard", "Hello"], capture_output=True, text=True, check=True
    )
    assert "\x1b[" not in told.stdout + told.stderr, "no library paints its own lines"
    script = "import os, onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    own = [*run, "--entrypoint", "", "--", "python", "-c", script]
    assert subprocess.run(own, capture_output=True, text=True, check=True).stdout.strip() == "1"
    assert heard.strangers == []
    assert list(heard.home.rglob("*")) == []


def streamed(client: OpenAI) -> tuple[str, Decimal]:
    """A budgeted request: its id and what it cost."""
    with client.chat.completions.with_streaming_response.create(
        model="p2l",
        messages=[{"role": "user", "content": "Count to three."}],
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"X-Cost-Budget": "0.002"},
    ) as answer:
        text, cost = "", None
        for chunk in answer.parse():
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
            if chunk.usage is not None:
                cost = Decimal(str(chunk.usage.model_extra["cost"]))
        assert text
        assert cost is not None
        return answer.headers["x-request-id"], cost


def ledger(secrets: Path) -> dict[str, Decimal]:
    """Request id -> settled cost, from PostgreSQL itself."""
    password = (secrets / "postgres_password").read_text()
    where = f"postgresql://p2l:{password}@127.0.0.1:5432/p2l"
    query = (
        "select request_id, sum(cost_pico) from attempts where settled_at is not null group by 1"
    )
    with psycopg.connect(where) as connection:
        return {row[0]: Decimal(row[1]).scaleb(-12) for row in connection.execute(query)}


@pytest.fixture
def admin(secrets: Path) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {(secrets / 'admin_key').read_text()}"}
    with httpx.Client(
        base_url="http://127.0.0.1:8000", headers=headers, trust_env=False, timeout=30
    ) as found:
        yield found


def test_the_default_stack_keeps_its_ledger_over_down_and_up(
    tools: Path, tmp_path: Path, secrets: Path, client: OpenAI, admin: httpx.Client
) -> None:
    need_ports()
    stack = Stack(tools, tmp_path / "default", secrets, profile="")
    try:
        assert "gateway is healthy" in stack.up()
        request_id, cost = streamed(client)
        assert admin.get("/").status_code == 200, "the key that secrets.sh prints is an admin's"
        key = admin.post("/admin/keys", json={"name": "alice"}).json()["key"]
        assert stack.down() == [], "each service ends when it is told to"
        stack.up()
        (row,) = admin.get("/admin/spend", params={"by": "key"}).json()["data"]
        assert (row["group"], row["attempts"]) == ("team", 1)
        assert Decimal(str(row["cost_usd"])) == cost > 0
        assert admin.get(f"/v1/decisions/{request_id}").status_code == 200
        kept = admin.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        assert kept.status_code == 200, "a key that was created is there again"
    finally:
        stack.down(drop=True)


def test_the_full_stack_comes_up_healthy_and_answers(
    tools: Path, tmp_path: Path, secrets: Path, client: OpenAI
) -> None:
    need_ports()
    stack = Stack(tools, tmp_path / "whole", secrets)
    try:
        said = stack.up()
        for name in (*SERVICES, "prometheus"):
            assert f"{name} is healthy" in said, said
        request_id, cost = streamed(client)
        assert ledger(secrets)[request_id] == cost > 0
        with httpx.Client(base_url="http://127.0.0.1:8000", trust_env=False) as http:
            assert http.get("/").status_code == 401
            admin = {"authorization": f"Bearer {(secrets / 'admin_key').read_text()}"}
            assert http.get("/", headers=admin).status_code == 200
            decision = http.get(f"/v1/decisions/{request_id}", headers=admin).json()
            assert decision["scoring"] == "prompt", "the model service has scored it"
    finally:
        killed = stack.down(drop=True)
    assert killed == [], "each service ends when it is told to"


def test_every_service_restarts_without_a_lost_row(
    tools: Path, tmp_path: Path, secrets: Path, client: OpenAI
) -> None:
    need_ports()
    stacks = {name: Stack(tools, tmp_path / name, secrets, name) for name in SERVICES}
    answered: dict[str, Decimal] = {}
    refused: list[int] = []
    over = threading.Event()

    def ask_on_and_on() -> None:
        while not over.is_set():
            try:
                request_id, cost = streamed(client)
                answered[request_id] = cost
            except APIStatusError as error:
                refused.append(error.status_code)
                over.wait(0.05)
            except Exception:
                over.wait(0.05)  # nobody listens just now
            over.wait(0.02)

    try:
        for stack in stacks.values():
            stack.up()
        asking = threading.Thread(target=ask_on_and_on)
        asking.start()
        for name, stack in stacks.items():
            before = len(answered)
            stack.down()
            stack.up()
            over.wait(3)
            assert len(answered) > before, f"after {name} was back nothing was answered"
        over.set()
        asking.join()
        assert len(answered) > 20
        # The last row is written within a moment of its answer.
        for _ in range(50):
            kept = ledger(secrets)
            if all(kept.get(one) is not None for one in answered):
                break
            time.sleep(0.1)
        assert {one: kept.get(one) for one in answered} == answered
        assert set(refused) <= {429, 503}, "refused while it could not be recorded, never failed"
    finally:
        over.set()
        for stack in reversed(stacks.values()):
            stack.down(drop=True)
