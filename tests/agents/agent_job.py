"""The job that every agent is given, and the player that does it with the agent's own tools."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playing import Answer, Asked, Call, Tool

BUG, MENDED = "return a - b", "return a + b"
_TEST = "from sums import add\nassert add(2, 3) == 5, add(2, 3)\nprint('the test passes')\n"
_SUMMARY = re.compile(
    r"summar(y|ize|ise) (of )?(the|our|this) |checkpoint|compact|state_snapshot"
    r"|conversation so far|continuing (our|this|the) conversation",
    re.IGNORECASE,
)
_LOOKS = 16
_WHOLE_LOOKS = 40
_DULL_LINES = 120


@dataclass(frozen=True)
class Step:
    """kind: read, edit or run. text: of a file to be read or edited its path; a command."""

    kind: str
    text: str


class Job:
    """A function with a bug, in a folder of its own. looks: how many turns are spent on looking
    around before; bulky: what they bring is long."""

    def __init__(self, folder: Path, looks: int = 0, *, bulky: bool = False) -> None:
        self.folder = folder
        self._looks = looks
        self._bulky = bulky
        folder.mkdir(parents=True)
        (folder / "sums.py").write_text(f"def add(a, b):\n    {BUG}\n")
        (folder / "test_sums.py").write_text(_TEST)
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
        for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "Begin"]):
            subprocess.run([*git, *command], cwd=folder, check=True, capture_output=True)

    @property
    def prompt(self) -> str:
        """What the person says."""
        return (
            f"The function add in {self.folder}/sums.py is wrong. Read it and its test, mend it, "
            "run python3 test_sums.py there, and say what it was."
        )

    @property
    def is_done(self) -> bool:
        """Whether the function is right."""
        return MENDED in (self.folder / "sums.py").read_text()

    def steps(self) -> list[Step]:
        """What has to be done, a call each."""
        looks = [self._look(number) for number in range(self._looks)]
        test = f"cd {shlex.quote(str(self.folder))} && python3 test_sums.py"
        return [
            *looks,
            Step("read", f"{self.folder}/sums.py"),
            Step("read", f"{self.folder}/test_sums.py"),
            Step("edit", f"{self.folder}/sums.py"),
            Step("run", test),
        ]

    def _look(self, number: int) -> Step:
        if self._bulky:
            line = f"echo look {number} line $i of a long and dull log"
            return Step("run", f"for i in $(seq {_DULL_LINES}); do {line}; done")
        return Step("run", f"echo look {number}")


def long_job(folder: Path) -> Job:
    """Twenty turns."""
    return Job(folder, _LOOKS)


def bulky_job(folder: Path) -> Job:
    """Twenty turns, which bring more than a small window holds."""
    return Job(folder, _LOOKS, bulky=True)


def whole_job(folder: Path) -> Job:
    """As many turns as agents take for a small change in a large repository."""
    return Job(folder, _WHOLE_LOOKS, bulky=True)


class Worker:
    """Plays the model: a step of the job for each result of the one before. A request that comes
    again, because its answer failed, is answered as before."""

    def __init__(self, job: Job) -> None:
        self._steps = job.steps()
        self._job = job
        self._at = 0
        self._begun = False
        self._results = ""

    def answer(self, asked: Asked) -> Answer:
        """The next answer."""
        if asked.wants is not None:
            return Answer(json.dumps(_least(asked.wants)))
        if self._begun and _SUMMARY.search(asked.said) and self._job.prompt not in asked.said:
            return Answer(f"It was asked: {self._job.prompt} So far {self._at} steps are done.")
        if not asked.tools:
            return Answer("Mend a sum")
        if asked.results and asked.results != self._results:
            self._at += 1
        self._begun, self._results = True, asked.results
        if self._at >= len(self._steps):
            return Answer("It subtracted where it should have added. The test passes now.")
        return Answer(f"Step {self._at + 1}.", (call_for(self._steps[self._at], asked.tools),))


def call_for(step: Step, tools: Any) -> Call:
    """The call by which a step is done, with the tools that the agent offers."""
    for do in _WAYS[step.kind]:
        made = do(step, tools)
        if made is not None:
            return made
    raise AssertionError(f"no way to {step.kind} with {sorted(tools)}")


Way = Callable[[Step, dict[str, Tool]], Call | None]


def _read(step: Step, tools: dict[str, Tool]) -> Call | None:
    for name in ("Read", "read", "read_file"):
        if name in tools:
            paths = ("file_path", "filePath", "filepath", "path")
            path = next(n for n in paths if n in tools[name].properties)
            return Call(name, {path: step.text})
    if "read_files" in tools:
        return Call("read_files", {"files": [{"path": step.text}]})
    return None


def _shown(step: Step, tools: dict[str, Tool]) -> Call | None:
    return call_for(Step("run", f"cat {shlex.quote(step.text)}"), tools)


def _edit(step: Step, tools: dict[str, Tool]) -> Call | None:
    for name in ("Edit", "edit"):
        if name not in tools:
            continue
        if "edits" in tools[name].properties:
            edits = [{"oldText": BUG, "newText": MENDED}]
            return Call(name, {"path": step.text, "edits": edits})
        if "filePath" in tools[name].properties:
            edit = {"oldString": BUG, "newString": MENDED}
            return Call(name, {"filePath": step.text, **edit})
        return Call(name, {"file_path": step.text, "old_string": BUG, "new_string": MENDED})
    if "editor" in tools:
        return Call("editor", {"path": step.text, "old_text": BUG, "new_text": MENDED})
    return None


def _patch(step: Step, tools: dict[str, Tool]) -> Call | None:
    if "apply_patch" not in tools:
        return None
    lines = f"@@\n-    {BUG}\n+    {MENDED}\n"
    patch = f"*** Begin Patch\n*** Update File: {step.text}\n{lines}*** End Patch"
    tool = tools["apply_patch"]
    return Call("apply_patch", patch if tool.custom else {tool.properties[0]: patch})


def _by_sed(step: Step, tools: dict[str, Tool]) -> Call | None:
    return call_for(Step("run", f"sed -i 's/{BUG}/{MENDED}/' {shlex.quote(step.text)}"), tools)


def _run(step: Step, tools: dict[str, Tool]) -> Call | None:
    for name in ("Bash", "bash", "run_shell_command", "exec_command"):
        if name in tools:
            given = tools[name].properties
            more: dict[str, Any] = {"description": "A step"} if "description" in given else {}
            more |= {"is_background": False} if "is_background" in given else {}
            return Call(name, {"cmd" if "cmd" in given else "command": step.text} | more)
    if "run_commands" in tools:
        return Call("run_commands", {"commands": [step.text]})
    return None


def _by_script(step: Step, tools: dict[str, Tool]) -> Call | None:
    """Where JavaScript is the one tool, and all others are its functions."""
    if "exec" not in tools:
        return None
    asked = json.dumps({"cmd": step.text})
    code = f"const done = await tools.exec_command({asked}); text(done.output);"
    tool = tools["exec"]
    return Call("exec", code if tool.custom else {tool.properties[0]: code})


_WAYS: dict[str, Sequence[Way]] = {
    "read": (_read, _shown),
    "edit": (_edit, _patch, _by_sed),
    "run": (_run, _by_script),
}


def _least(schema: dict[str, Any]) -> Any:
    """A value that a schema allows."""
    if schema.get("enum"):
        return schema["enum"][0]
    kinds = {"boolean": False, "integer": 1, "number": 1, "array": [], "null": None}
    kind = schema.get("type", "string")
    if kind == "object":
        return dict(_least_properties(schema))
    return kinds.get(kind, "a sum")


def _least_properties(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, inner in (schema.get("properties") or {}).items():
        yield name, _least(inner)
