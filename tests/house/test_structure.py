"""The house: imports point one way, packages are ours, the default install is light."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

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


def test_import_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


def test_a_violation_is_caught(tmp_path: Path) -> None:
    copy_of_the_packages(tmp_path)
    guilty = tmp_path / "router" / "lp.py"
    guilty.write_text(guilty.read_text() + "\nimport httpx\nimport server.settings\n")
    result = lint(tmp_path)
    assert result.returncode == 1
    assert "router is pure" in result.stdout
    assert "server -> router -> p2l_model" in result.stdout


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


def test_router_pulls_in_nothing_heavy() -> None:
    heavy = {"torch", "fastapi", "httpx", "onnxruntime", "transformers", "cvxpy"}
    assert not heavy & loaded_by("import router.decide")


def test_serving_needs_no_torch() -> None:
    loaded = loaded_by(
        "from server.build import build_scorer\nfrom server.settings import ScorerSettings\n"
        "import server.app\nbuild_scorer(ScorerSettings())"
    )
    assert "onnxruntime" in loaded
    assert not {"torch", "transformers", "pyarrow", "onnx"} & loaded


def test_the_bundled_checkpoint_is_small() -> None:
    files = (ROOT / "p2l_model" / "bundled").rglob("*")
    assert sum(file.stat().st_size for file in files if file.is_file()) < 40_000_000


def test_the_contract_names_every_module_that_the_router_must_not_know() -> None:
    config = (ROOT / "pyproject.toml").read_text()
    for module in (ROOT / "p2l_model").glob("*.py"):
        if module.stem not in ("__init__", "types", "preference", "words"):
            assert f'"p2l_model.{module.stem}"' in config
