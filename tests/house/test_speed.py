"""What keeps the tests quick, and what counts the code that they run.

A process that starts Python and imports the server takes a second of CPU. A test has one where the
process itself is tried: its signals, its death, its memory, what it loads, whom it speaks to.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
# Everything else calls main() by command_line.p2l_router.
OURS_AS_A_PROCESS = {
    "house/test_docs.py": "the documentation's own commands",
    "house/test_forked_workers.py": "processes that run tests",
    "house/test_speed.py": "whether a process counts",
    "house/test_structure.py": "what an import loads, and the linter",
    "system/accounts/test_killed_gateways.py": "a process that is killed",
    "system/accounts/test_session_budgets.py": "a process that is killed",
    "system/offline/test_learn_killed.py": "a process that is killed",
    "system/p2l_model/analysis/test_library.py": "what an import loads",
    "system/router/test_library.py": "what an import loads, and an example as it is run",
    "system/serving/test_event_loop.py": "a process's own event loop",
    "system/serving/test_first_run.py": "the line that serve tells its user to try",
    "system/serving/test_serve.py": "signals",
    "system/serving/test_upgrade.py": "a process of an earlier version",
    "system/sessions/test_shared_sessions.py": "processes that share what they know",
    "system/storage/test_kill.py": "a process that is killed",
    "system/test_init.py": "a terminal",
    "system/test_ledger_place.py": "where the installed program writes",
    "system/test_logs.py": "what a process writes to its standard streams",
    "system/test_model_service.py": "signals",
    "system/test_newcomer.py": "a fresh clone, as it is installed and served",
    "system/test_outward.py": "whom a process speaks to",
    "system/test_price_updates.py": "a reload by a signal",
    "system/test_privacy.py": "what a process writes anywhere",
    "system/test_score_cost.py": "the threads of a process",
    "system/test_tracing.py": "what an import loads",
    "unit/p2l_model/engine/test_vllm.py": "an environment of its own",
    "unit/p2l_model/training/test_finetune.py": "processes that train together",
    "unit/router/test_cvxpy_lp.py": "what an import loads",
    "unit/server/storage/test_spool.py": "a process that is killed",
    "unit/server/test_cli.py": "the installed program, and python -m server",
}
STARTERS = {"ServeProcess", "COMMAND"}


def names_in(file: Path) -> set[str]:
    """Every name and every dotted name of a module."""
    tree = ast.parse(file.read_text())
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
    return found


def starts_python(file: Path) -> bool:
    text = file.read_text()
    if not any(word in text for word in (*STARTERS, "sys.executable")):
        return False  # most files: they need not be parsed
    names = names_in(file)
    return bool(STARTERS & names) or ("sys.executable" in names and "subprocess" in names)


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (TESTS / folder).rglob("test_*.py")


@pytest.mark.slow
def test_python_is_started_only_where_a_process_is_what_is_tried() -> None:
    found = {str(f.relative_to(TESTS)) for f in modules("unit", "system", "house")
             if starts_python(f)}  # fmt: skip
    assert found == set(OURS_AS_A_PROCESS), (
        "call main() by command_line.p2l_router, or say here why not"
    )


def test_servers_of_tests_stop_at_once() -> None:
    for file in TESTS.rglob("*.py"):
        if file.name == "quick_server.py" or file == Path(__file__):
            continue
        text = file.read_text()
        assert "uvicorn.Server(" not in text, f"{file}: quick_server.QuickServer stops at once"
        served = text.count(".serve_forever")
        paced = text.count("poll_interval") + text.count("args=(0.01,)")
        assert served <= paced, f"{file}: serve_forever waits half a second to stop: args=(0.01,)"


def test_no_test_asserts_how_many_seconds_something_takes() -> None:
    """On a busy machine such a limit fails although nothing is wrong. Count what is sent, read or
    asked, or compare with the same work in the same run."""
    limit = re.compile(
        r"assert .*(?:monotonic|perf_counter|time)\(\) - \w+ <=? [\d.]"
        r"|assert (?:max|sum|median)\((?:took|waits|seconds)\w*\) <=? [\d.]"
    )
    for file in TESTS.rglob("*.py"):
        if file.parent.name != "golden":
            found = limit.search(file.read_text())
            assert found is None, f"{file}: {found and found[0]}"


def test_bytecode_is_kept() -> None:
    """Where a module turns it off, all modules of tests that are imported after it are compiled
    anew, in every run and every process: a third of the time that it takes to begin."""
    turned_off = "dont_write_" + "bytecode ="
    assert [str(f) for f in TESTS.rglob("*.py") if turned_off in f.read_text()] == []


@pytest.mark.slow
def test_a_program_that_a_test_starts_counts(tmp_path: Path) -> None:
    """With the configuration that `make coverage` has."""
    script = tmp_path / "starts.py"
    script.write_text(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'server', '--version'], check=True)\n"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    environ["COVERAGE_FILE"] = str(tmp_path / "data")
    coverage = [sys.executable, "-m", "coverage"]
    said = f"--rcfile={ROOT / 'pyproject.toml'}"
    for words in (["run", said, str(script)], ["combine", "-q", said]):
        subprocess.run([*coverage, *words], cwd=tmp_path, env=environ, check=True)
    command = [*coverage, "json", "-q", "--fail-under=0", "--include=*/server/cli.py", "-o", "-"]
    done = subprocess.run([*command, said], cwd=tmp_path, env=environ, capture_output=True)
    (counted,) = json.loads(done.stdout)["files"].values()
    assert counted["summary"]["covered_lines"] > 20
