"""The house: imports point one way, packages are ours, the default install is light."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).parent / "lint-imports"


def lint(cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT), "--config", str(cwd / "pyproject.toml"), "--no-cache"],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(cwd), "PATH": ""},
        check=False,
    )


def copy_of_the_packages(target: Path) -> None:
    (target / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for package in ("server", "router", "p2l_model"):
        for source in (ROOT / package).rglob("*.py"):
            copied = target / source.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_text(source.read_text())


@pytest.mark.slow
def test_import_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_a_violation_is_caught(tmp_path: Path) -> None:
    copy_of_the_packages(tmp_path)
    for file, more in (
        ("router/hull.py", "import httpx\nimport server.config.settings\n"),
        ("router/types_of_mixes.py", "import router.decide\n"),
        ("router/decide.py", "import router.types_of_mixes\n"),
        ("server/ledger/entry.py", "import server.gateway.gateway\n"),
        ("p2l_model/data/files.py", "import p2l_model.training.train\n"),
    ):
        guilty = tmp_path / file
        guilty.write_text((guilty.read_text() if guilty.exists() else "") + "\n" + more)
    result = lint(tmp_path)
    assert result.returncode == 1
    for contract in (
        "router is pure",
        "server -> router -> p2l_model",
        "no modules of router import each other in a circle",
        "the rooms of server are in layers",
        "the rooms of p2l_model are in layers",
    ):
        assert any(contract in line and "BROKEN" in line for line in result.stdout.splitlines())


def test_few_modules_lie_outside_a_room() -> None:
    for package in ("server", "p2l_model"):
        assert len(list((ROOT / package).glob("*.py"))) <= 8


@pytest.mark.slow
def test_packages_are_this_distributions() -> None:
    owners = packages_distributions()
    for package in ("server", "router", "p2l_model"):
        assert set(owners.get(package, ["p2l-router"])) == {"p2l-router"}
        module = __import__(package)
        assert Path(module.__file__ or "").parent == ROOT / package


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(' '.join(m.split('.')[0] for m in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/"
    )
    return set(result.stdout.split())


@pytest.mark.slow
def test_router_pulls_in_nothing_heavy() -> None:
    heavy = {"torch", "fastapi", "httpx", "onnxruntime", "transformers", "cvxpy"}
    assert not heavy & loaded_by("import router.choice")


@pytest.mark.slow
def test_serving_needs_no_torch() -> None:
    loaded = loaded_by(
        "from server.build import build_scorer\nfrom server.config.settings import ScorerSettings\n"
        "import server.app, router.constrained, router.cvxpy_lp\nbuild_scorer(ScorerSettings())"
    )
    assert not {"onnxruntime", "torch", "transformers", "pyarrow", "onnx"} & loaded
    assert not {"cvxpy", "scipy"} & loaded, "no solver is loaded before there is a constraint"


@pytest.mark.slow
def test_the_encoder_needs_no_torch() -> None:
    loaded = loaded_by(
        "from server.build import build_scorer\nfrom server.config.settings import ScorerSettings\n"
        "build_scorer(ScorerSettings(quality='high'))"
    )
    assert "onnxruntime" in loaded
    assert not {"torch", "transformers", "pyarrow", "onnx"} & loaded


def test_the_bundled_checkpoints_are_small() -> None:
    folders = [ROOT / "p2l_model" / name for name in ("bundled", "bundled_high")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 60_000_000


def test_the_contract_names_every_module_that_the_router_must_not_know() -> None:
    config = (ROOT / "pyproject.toml").read_text()
    for module in (ROOT / "p2l_model").iterdir():
        is_module = module.suffix == ".py" or (module / "__init__.py").exists()
        if is_module and module.stem not in ("__init__", "types", "preference", "words"):
            assert f'"p2l_model.{module.stem}"' in config


def test_the_architecture_names_what_there_is() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = re.findall(r"`((?:server|router|p2l_model)/[\w/.]+)`", text)
    assert len(named) > 15
    for path in named:
        assert (ROOT / path).exists(), path
    for package in ("server", "p2l_model"):
        table = text.split(f"## Rooms of `{package}`")[1].split("\n## ")[0]
        rows = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
        named_rooms = {name.rstrip("/") for name in re.findall(r"`([^`]+)`", rows)}
        rooms = {
            path.name
            for path in (ROOT / package).iterdir()
            if (path / "__init__.py").exists() or path.suffix == ".py"
        }
        assert named_rooms == rooms - {"__init__.py", "__main__.py"}


def router_imports(module: str) -> set[str]:
    """The modules of router that one of them imports."""
    tree = ast.parse((ROOT / "router" / f"{module}.py").read_text())
    named = (node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {name.removeprefix("router.") for name in named if name and name.startswith("router.")}


@pytest.mark.slow
def test_the_architecture_lists_router_in_the_order_of_its_imports() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    (listed,) = re.findall(r"^`router` is flat\.(.+?)\n\n", text, re.MULTILINE | re.DOTALL)
    order = re.findall(r"`(\w+)`", listed)
    modules = {path.stem for path in (ROOT / "router").glob("*.py")} - {"__init__"}
    assert set(order) == modules
    for place, module in enumerate(order):
        assert router_imports(module) <= set(order[:place]), module


def test_the_architecture_names_functions_that_there_are() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text().replace("\n", " ")
    for path, name in re.findall(r"`((?:server|router)/[\w/.]+\.py)`, `([\w.]+)`", text):
        source = (ROOT / path).read_text()
        for part in name.split("."):
            assert re.search(rf"(?:class|def) {part}\b", source), (path, name)


def test_every_test_is_where_pytest_looks() -> None:
    folders = ("server", "router", "p2l_model", "benchmarks", "studies", "fuzz", "soak", "examples")
    assert [str(f) for name in folders for f in (ROOT / name).rglob("test_*.py")] == []


class Definition(NamedTuple):
    source: Path
    name: str
    is_class: bool
    lines: int
    said: str


@functools.cache
def definitions() -> list[Definition]:
    """Of all classes and functions of the packages."""
    return [
        Definition(
            source, node.name, isinstance(node, ast.ClassDef),
            (node.end_lineno or 0) - node.lineno + 1, (ast.get_docstring(node) or "").strip(),
        )
        for package in ("server", "router", "p2l_model")
        for source in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]  # fmt: skip


@pytest.mark.slow
def test_no_docstring_only_points_elsewhere() -> None:
    """A reader should not have to look up what a function does."""
    pointing = re.compile(r"(See|As) [\w.`() ]+\.?|Nothing\.?")
    for one in definitions():
        assert pointing.fullmatch(one.said) is None, one


@pytest.mark.slow
def test_no_function_has_more_than_sixty_lines() -> None:
    """Longer functions hide that they do several things. A database's schema is one list."""
    for one in definitions():
        assert one.lines <= 60 or one.is_class or "migrations" in one.source.parts, one
