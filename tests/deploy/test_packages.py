"""The wheel and the source distribution: all files are in them, and the wheel runs by itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("server", "router", "p2l_model")
# How the machine reaches packages is the machine's own business.
_MACHINE = re.compile(r"PATH|PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|.*_proxy|.*_PROXY|LANG")
_NO_PACKAGES = ("Could not fetch URL", "No matching distribution", "Connection error", "ProxyError")


def environment(home: Path) -> dict[str, str]:
    return {n: v for n, v in os.environ.items() if _MACHINE.fullmatch(n)} | {"HOME": str(home)}


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment(folder), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if any(word in done.stderr for word in _NO_PACKAGES):
        pytest.skip("packages cannot be installed here")
    assert done.returncode == 0, done.stderr
    return done.stdout


def tracked() -> set[str]:
    """The files of the packages that the repository has."""
    listed = subprocess.run(
        ["git", "ls-files", "--", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    return {name for name in listed if name}


class Built(NamedTuple):
    """folder: has the environment `build`, and nothing of the source."""

    folder: Path
    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("packages")
    run(folder, sys.executable, "-m", "venv", "build")
    run(folder, "build/bin/pip", "install", "-q", "hatchling>=1.27,<2")
    source = folder / "source"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", source], check=True)
    run(source, folder / "build/bin/python", "-m", "hatchling", "build", "-d", folder / "dist")
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return Built(folder, wheel, sdist)


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_packages(built: Built) -> None:
    names = set(zipfile.ZipFile(built.wheel).namelist())
    ours = {name for name in names if name.split("/")[0] in PACKAGES}
    assert ours == tracked()
    assert {name.split("/")[0].split("-")[0] for name in names} == {*PACKAGES, "p2l_router"}


@pytest.mark.slow
def test_the_source_distribution_makes_the_same_wheel(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(built.folder / "unpacked", filter="data")
    (unpacked,) = (built.folder / "unpacked").iterdir()
    assert (unpacked / "docs" / "install.md").exists()
    assert not (unpacked / "tests").exists()
    again = built.folder / "again"
    python = built.folder / "build/bin/python"
    run(unpacked, python, "-m", "hatchling", "build", "-t", "wheel", "-d", again)
    (wheel,) = again.glob("*.whl")
    assert zipfile.ZipFile(wheel).namelist() == zipfile.ZipFile(built.wheel).namelist()


@pytest.mark.slow
def test_the_wheel_runs_in_a_clean_environment(built: Built, tmp_path: Path) -> None:
    run(tmp_path, sys.executable, "-m", "venv", "own")
    run(tmp_path, "own/bin/pip", "install", "-q", built.wheel)
    program = tmp_path / "own/bin/p2l-router"
    assert run(tmp_path, program, "--version").startswith("p2l-router ")
    for quality in ("bundled", "bundled-high"):
        words = ("leaderboard", "Prove it.", "--top", "1", "--checkpoint", quality, "--json")
        assert json.loads(run(tmp_path, program, *words))["data"]
    assert "gpt-6-luna" in run(tmp_path, program, "facts", "gpt-6-luna")
    run(tmp_path, program, "init", "--provider", "sandbox", "--yes")
    assert run(tmp_path, program, "check", "--config", "p2l-router.yaml").endswith("ok\n")
    assert run(tmp_path, program, "keys", "list").startswith("name")
    assert "complete" in run(tmp_path, program, "completion", "bash")
    log = tmp_path / "serve.log"
    command = [str(program), "serve", "--config", "p2l-router.yaml", "--port", "0"]
    with log.open("w") as said, subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stderr=said
    ) as process:  # fmt: skip
        try:
            url = served(log, process)
            with httpx.Client(base_url=url, trust_env=False) as http:
                body = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}
                assert http.post("/v1/chat/completions", json=body).status_code == 200
                page = http.get("/")
                assert page.status_code == 200
                for script in re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg))"', page.text):
                    assert http.get(httpx.URL(url).join(script)).status_code == 200, script
        finally:
            process.terminate()


def served(log: Path, process: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        found = re.search(r"serves (http://\S+)/v1", log.read_text())
        if found is not None and is_ready(found[1]):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def is_ready(url: str) -> bool:
    """The line that names the address comes a moment before the listener."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_no_page_and_no_message_names_an_index_that_does_not_have_it() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.rglob("deploy/**/*.yaml")]
    sources = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    for file in (*pages, *sources):
        if file.name == "install.md":
            continue
        assert "p2l-router[" not in file.read_text(), file
        assert "pip install p2l-router" not in file.read_text(), file
