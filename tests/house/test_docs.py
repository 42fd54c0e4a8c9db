"""The documentation's blocks do what they say, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from serve_process import ServeProcess

from server.config.settings import Settings

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
SANDBOX = (ROOT / "deploy" / "config.sandbox.yaml").read_text().split("auth:")[0]
# What takes a GPU, a cluster or a service that stays, which other tests have as well; benchmarks,
# which take minutes and other gateways.
NOT_RUN = {
    "deploy.md": "sh",
    "README.md": "sh",
    "model-service.md": "sh yaml",
    "performance.md": "sh",
    "scale.md": "sh",
}
KEYS = ("OPENAI", "ANTHROPIC", "GEMINI", "AZURE", "OPENROUTER", "GROQ")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def tried(*languages: str) -> list[object]:
    return [
        pytest.param(language, block, id=f"{page.stem}-{language}-{index}")
        for page in PAGES
        for language in languages
        if language not in NOT_RUN.get(page.name, "").split() and page.name != "train.md"
        for index, block in enumerate(blocks(page, language))
    ]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServeProcess(tmp_path_factory.mktemp("serve"), SANDBOX) as serve:
        yield serve.url


def run(language: str, block: str, folder: Path, url: str = "") -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    how = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*how, block.replace("http://127.0.0.1:8000", url)],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **{f"{name}_API_KEY": "unused" for name in KEYS}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert '{"error":{"message"' not in done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("language", "block"), tried("sh", "python"))
def test_blocks_can_be_tried(language: str, block: str, url: str, tmp_path: Path) -> None:
    (providers,) = blocks(ROOT / "docs" / "providers.md", "yaml")
    (tmp_path / "providers.yaml").write_text(providers)
    run(language, block, tmp_path, url)


@pytest.mark.parametrize(("language", "block"), tried("yaml"))
def test_configurations_are_valid(language: str, block: str) -> None:
    (providers,) = blocks(ROOT / "docs" / "providers.md", "yaml")
    Settings.model_validate(yaml.safe_load(providers) | yaml.safe_load(block))


@pytest.mark.slow
def test_training_goes_as_the_page_says(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip("the data sets are not beside this checkout")
    (tmp_path / "data").symlink_to(DATA)
    said = [run("sh", block, tmp_path) for block in blocks(ROOT / "docs" / "train.md", "sh")]
    assert "votes, 0 skipped" in said[0]
    assert "pareto.json" in said[-1]


def test_every_block_has_a_language_that_is_looked_at() -> None:
    for page in PAGES:
        text = page.read_text()
        assert set(re.findall(r"^```([a-z]+)$", text, re.M)) <= {"sh", "python", "yaml"}, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def places(page: Path) -> set[str]:
    """The names of its headings in links: lower case, hyphens for spaces, no punctuation."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head) for head in heads)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    for name, heading in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text()):
        target = page.parent / name if name else page
        if target.suffix == ".md":
            assert heading in places(target), f"{page.name} links to {name}#{heading}"


def test_security_names_tests_that_there_are() -> None:
    named = re.findall(r"`((?:[\w/]+/)?test_\w+\.py)`", (ROOT / "SECURITY.md").read_text())
    tests = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(named) > 15
    for name in named:
        assert any(test == name or test.endswith(f"/{name}") for test in tests), name


def test_contributing_names_files_that_there_are() -> None:
    named = re.findall(r"`([\w/]+(?:\.\w+|/))`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 20
    for path in named:
        assert (ROOT / path).exists(), path
