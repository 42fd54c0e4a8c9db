"""deploy/compose.yaml, secrets.sh and the configurations beside it agree: no engine is needed."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_stack import DEPLOY

from server.auth.authenticator import Authenticator
from server.build import settings_from
from server.config.defaults import known_variables
from server.config.secret import Secret

CONFIGS = [path.name for path in DEPLOY.glob("config.*.yaml")]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return document


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    for _ in range(2):  # the second time changes nothing
        subprocess.run([str(DEPLOY / "secrets.sh"), str(folder)], check=True, capture_output=True)
    return folder


def variables_in_the_container(compose: dict[str, Any], secrets: Path) -> dict[str, str]:
    """Those of the gateway, as it is started from a shell that has none of them."""
    given = compose["services"]["gateway"]["environment"]
    plain = {name: value for name, value in given.items() if not str(value).startswith("${")}
    return {name: value.replace("/run/secrets", str(secrets)) for name, value in plain.items()}


def test_every_secret_is_made_and_mounted(compose: dict[str, Any], secrets: Path) -> None:
    files = {Path(one["file"]).name for one in compose["secrets"].values()}
    assert files == {path.name for path in secrets.iterdir()}
    for service in compose["services"].values():
        mounted = set(service.get("secrets", []))
        assert mounted <= compose["secrets"].keys()
        environment = service.get("environment", {})
        read = {v for n, v in environment.items() if n.endswith("_FILE")}
        assert read <= {f"/run/secrets/{name}" for name in mounted}


def test_the_key_of_every_provider_that_serves_without_a_configuration_gets_in(
    compose: dict[str, Any], secrets: Path
) -> None:
    environment = compose["services"]["gateway"]["environment"]
    for name in known_variables():
        assert environment[name] == f"${{{name}:-}}"
        assert environment[f"{name}_FILE"] == f"/run/secrets/{name.lower()}"
        path = secrets / name.lower()
        assert path.stat().st_mode & stat.S_IWUSR, f"{path.name} is there to be written"
        assert path.read_text() == ""


def test_nobody_else_on_the_machine_reads_them(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    # in the container another user reads them
    assert all(path.stat().st_mode & stat.S_IROTH for path in secrets.iterdir())


def test_what_is_there_is_not_overwritten(secrets: Path) -> None:
    key = (secrets / "admin_key").read_text()
    (secrets / "openai_api_key").write_text("sk-mine\n")
    subprocess.run([str(DEPLOY / "secrets.sh"), str(secrets)], check=True, capture_output=True)
    assert (secrets / "openai_api_key").read_text() == "sk-mine\n"
    assert (secrets / "admin_key").read_text() == key
    assert len(key) == 48


@pytest.mark.parametrize("config", CONFIGS)
def test_the_keys_that_are_printed_work(
    compose: dict[str, Any], secrets: Path, config: str
) -> None:
    environ = variables_in_the_container(compose, secrets)
    settings = settings_from(str(DEPLOY / config), environ)
    authenticator = Authenticator.from_settings(settings.auth, environ)
    assert not authenticator.caller_with((secrets / "router_key").read_text()).admin
    admin = authenticator.caller_with(Secret((secrets / "admin_key").read_text()).reveal())
    assert admin.admin


def test_the_image_makes_no_volume_of_its_own() -> None:
    """Each container would get a nameless one, and the ledger be gone with the container."""
    lines = (DEPLOY.parent / "Dockerfile").read_text().splitlines()
    assert not [line for line in lines if line.startswith("VOLUME")]


def test_a_stop_is_given_the_time_that_it_takes(compose: dict[str, Any]) -> None:
    drain_s = settings_from(str(DEPLOY / "config.full.yaml"), os.environ).limits.drain_s
    grace = compose["services"]["gateway"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > drain_s
