"""Conversations as clients have them after several models have answered, with what goes wrong in
them: the same one in the words of each API.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from strict_history import ISSUED

from server.upstream.seal import UNSIGNED, sealed
from server.upstream.signatures import Signatures

SURFACES = ("chat", "messages", "responses")
LONG = "mcp__plugin_warehouse-inventory-manager__list_all_reservations_of_a_given_customer"
NAMES = ("find", "read_file", LONG, LONG + "_twice", "files.read", "9to5")
IDS: tuple[Callable[[random.Random], str], ...] = (
    lambda r: f"call_{r.getrandbits(64):016x}",
    lambda r: f"toolu_{r.getrandbits(64):016x}",
    lambda r: f"functions.find:{r.randrange(3)}",
    lambda r: f"call_{r.randrange(2)}",
    lambda r: "call_x|fc_" + "y" * r.randrange(20, 90),
    lambda r: "".join(r.choices("abcXYZ019", k=9)),
    lambda r: "",
    lambda r: "ü",
)
OPENAI_SEALED = sealed([{"type": "openai.reasoning", "item": {"id": "rs_1"}, "tag": "00"}])
GOOGLE_SEALED = sealed([{"type": "google.signature", "call": None, "signature": ISSUED + "g"}])


@dataclass
class Step:
    """One turn. texts: what is said, each with a word that nothing else has."""

    kind: str
    texts: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    call_id: str = ""
    thought: str = ""
    refusal: bool = False
    odd: int = 0


@dataclass
class History:
    """steps: all turns; cuts: after how many of them a request is made. words: that are in texts,
    by the number of the step."""

    steps: list[Step]
    cuts: list[int]
    words: list[list[str]]
    tools: bool
    effort: bool


class _Maker:
    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.steps: list[Step] = []
        self.words: list[list[str]] = []
        self.cuts: list[int] = []
        self.n = 0

    def text(self, words: list[str]) -> str:
        self.n += 1
        word = f"w{self.n}x{self.r.getrandbits(32):08x}"
        words.append(word)
        return f"say {word}."

    def add(self, kind: str, n_texts: int, **fields: Any) -> None:
        words: list[str] = []
        texts = [self.text(words) for _ in range(n_texts)]
        for _, _, arguments in fields.get("calls", ()):
            words += [arguments[i:j] for i, j in _spans(arguments)]
        step = Step(kind, texts, odd=self.r.randrange(1000), **fields)
        self.steps.append(step)
        self.words.append(words)

    def arguments(self) -> str:
        self.n += 1
        word = f"w{self.n}x{self.r.getrandbits(32):08x}"
        return self.r.choice([
            json.dumps({"q": word}), json.dumps({"q": word}), json.dumps({"q": {"a": [word]}}),
            "{}", "", json.dumps([word]), '{"q": "' + word, word,
        ])  # fmt: skip

    def make(self) -> History:
        r = self.r
        for _ in range(r.choice([0, 0, 1, 1, 2])):
            self.add("system", r.choice([1, 1, 1, 2, 0]))
        if r.random() < 0.1:
            self.add("assistant", 1)
        for _ in range(r.randrange(1, 5)):
            self.round()
        tools = r.random() < 0.7
        return History(self.steps, self.cuts, self.words, tools, r.random() < 0.3)

    def round(self) -> None:
        r = self.r
        if r.random() < 0.15:
            self.add("system", 1)
        for _ in range(r.choice([1, 1, 1, 1, 2])):
            self.add("user", r.choice([1, 1, 1, 2, 0]))
        self.cuts.append(len(self.steps))
        for _ in range(r.choice([0, 0, 1, 1, 2])):
            self.call()
            self.cuts.append(len(self.steps))
        said = r.choice([1, 1, 1, 2, 0])
        self.add("assistant", said, thought=self.thought(), refusal=said > 0 and r.random() < 0.1)
        if r.random() < 0.05:
            self.add("assistant", 1)

    def call(self) -> None:
        r = self.r
        make_id = r.choice(IDS)
        calls = [
            (make_id(r), r.choice(NAMES), self.arguments())
            for _ in range(r.choice([1, 1, 1, 2, 3]))
        ]
        self.add("assistant", r.choice([0, 0, 1]), calls=calls, thought=self.thought())
        results = [c[0] for c in calls if r.random() < 0.95]
        if r.random() < 0.2:
            r.shuffle(results)
        if r.random() < 0.05:
            results.append(r.choice(["stray", *results]))
        for number, identifier in enumerate(results):
            self.add("result", r.choice([1, 1, 1, 2, 0]), call_id=identifier)
            if number == 0 and r.random() < 0.03:
                self.add("system", 1)
        if not results:
            self.add("user", 1)

    def thought(self) -> str:
        return self.r.choice(["", "", "words", "unsigned", "theirs", "own", "openai", "google"])


def _spans(arguments: str) -> Iterator[tuple[int, int]]:
    """Where the words are in the arguments of a call."""
    start = arguments.find("w")
    while start >= 0:
        end = start
        while end < len(arguments) and arguments[end].isalnum():
            end += 1
        yield start, end
        start = arguments.find("w", end)


def random_history(seed: int) -> History:
    """The same one for the same seed."""
    return _Maker(seed).make()


class Renderer:
    """A history in the words of one API. own, theirs: the marks of the provider that is asked, and
    of another."""

    def __init__(self, own: Signatures, theirs: Signatures) -> None:
        self._own, self._theirs = own, theirs

    def body(self, surface: str, history: History, cut: int) -> dict[str, Any]:
        """The request after so many steps."""
        body: dict[str, Any] = getattr(self, f"_{surface}")(history.steps[:cut])
        if history.tools:
            body["tools"] = [_tool(surface, name) for name in NAMES]
        return body

    def _secret(self, thought: str) -> str:
        return {
            "theirs": self._theirs.marked_text("abc"),
            "own": self._own.marked_text(ISSUED + "abc"),
            "openai": OPENAI_SEALED,
            "google": GOOGLE_SEALED,
        }.get(thought, UNSIGNED)

    # --- chat ---

    def _chat(self, steps: Sequence[Step]) -> dict[str, Any]:
        return {"model": "p2l", "messages": [self._message(step) for step in steps]}

    def _message(self, step: Step) -> dict[str, Any]:
        if step.kind == "system":
            role = ("system", "developer")[step.odd % 2]
            return {"role": role, "content": _content(step, "text")}
        if step.kind == "user":
            return {"role": "user", "content": _content(step, "text")}
        if step.kind == "result":
            return {"role": "tool", "tool_call_id": step.call_id,
                    "content": _content(step, "text")}  # fmt: skip
        message: dict[str, Any] = {"role": "assistant", "content": _content(step, "text")}
        if step.refusal:
            message |= {"content": None, "refusal": " ".join(step.texts)}
        if step.calls:
            message["tool_calls"] = [_chat_call(*call) for call in step.calls]
            message["content"] = message["content"] or None
        return message | self._extras(step)

    def _extras(self, step: Step) -> dict[str, Any]:
        signed = {"type": "thinking", "thinking": "hm", "signature": self._secret(step.thought)}
        extras: dict[str, Any] = {
            "": {},
            "words": {"reasoning_content": "hm", "reasoning": "hm"},
            "unsigned": {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
            "openai": {"reasoning_details": [
                {"type": "reasoning.encrypted", "data": OPENAI_SEALED}]},
        }.get(step.thought, {"thinking_blocks": [signed], "reasoning_content": "hm"})  # fmt: skip
        odd: list[dict[str, Any]] = [
            {"annotations": []},
            {"refusal": None, "audio": None, "function_call": None} if not step.refusal else {},
            {"provider_specific_fields": {"x": 1}},
            {"tool_calls": []} if not step.calls else {},
            {},
        ]
        return extras | odd[step.odd % len(odd)]

    # --- messages ---

    def _messages(self, steps: Sequence[Step]) -> dict[str, Any]:
        system, turns = [], list[dict[str, Any]]()
        for step in steps:
            if step.kind == "system" and not turns:
                system += step.texts
            elif step.kind == "system":
                text = f"<system-reminder>{' '.join(step.texts)}</system-reminder>"
                _turn(turns, "user", [{"type": "text", "text": text}])
            elif step.kind == "user":
                content = _content(step, "text")
                blocks = content if isinstance(content, list) else [
                    {"type": "text", "text": content}]  # fmt: skip
                _turn(turns, "user", blocks or [{"type": "text", "text": ""}])
            elif step.kind == "result":
                result = {"type": "tool_result", "tool_use_id": step.call_id}
                _turn(turns, "user", [result | {"content": _content(step, "text")}])
            else:
                blocks = self._blocks(step)
                if blocks:
                    _turn(turns, "assistant", blocks)
        body: dict[str, Any] = {"model": "p2l", "max_tokens": 9000, "messages": turns}
        return body | ({"system": "\n".join(system)} if system else {})

    def _blocks(self, step: Step) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        if step.thought in ("openai", "google"):
            blocks.append({"type": "redacted_thinking", "data": self._secret(step.thought)})
        elif step.thought:
            signature = self._secret(step.thought)
            blocks.append({"type": "thinking", "thinking": "hm", "signature": signature})
        blocks += [{"type": "text", "text": text} for text in step.texts]
        for identifier, name, arguments in step.calls:
            try:
                given = json.loads(arguments or "{}")
            except ValueError:
                given = {"raw": arguments}
            blocks.append({"type": "tool_use", "id": identifier, "name": name, "input": given})
        return blocks

    # --- responses ---

    def _responses(self, steps: Sequence[Step]) -> dict[str, Any]:
        items = [item for n, step in enumerate(steps) for item in self._items(n, step)]
        body: dict[str, Any] = {"model": "p2l", "input": items, "store": False}
        return body | ({"instructions": "Be brief."} if steps[0].odd % 2 else {})

    def _items(self, number: int, step: Step) -> Iterator[dict[str, Any]]:
        if step.kind in ("system", "user"):
            role = "user" if step.kind == "user" else ("system", "developer")[step.odd % 2]
            yield {"type": "message", "role": role, "content": _content(step, "input_text")}
            return
        if step.kind == "result":
            yield {"type": "function_call_output", "call_id": step.call_id,
                   "output": _content(step, "input_text")}  # fmt: skip
            return
        if step.thought:
            yield self._reasoning(number, step)
        if step.texts:
            kind = "refusal" if step.refusal else "output_text"
            name = "refusal" if step.refusal else "text"
            parts = [{"type": kind, name: text} for text in step.texts]
            given = [{}, {"id": f"msg_{number}"}, {"id": f"item_{number}"}][step.odd % 3]
            yield {"type": "message", "role": "assistant", "content": parts, **given}
        for place, (identifier, name, arguments) in enumerate(step.calls):
            given = [{}, {"id": f"fc_{number}_{place}"}, {"id": "call_" + "z" * 70}][step.odd % 3]
            yield {"type": "function_call", "call_id": identifier, "name": name,
                   "arguments": arguments, **given}  # fmt: skip

    def _reasoning(self, number: int, step: Step) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "reasoning", "id": f"rs_{number}", "summary": []}
        if step.thought == "words":
            item["summary"] = [{"type": "summary_text", "text": "hm"}]
        elif step.thought != "unsigned":
            item["encrypted_content"] = self._secret(step.thought)
        return item


def _content(step: Step, kind: str) -> Any:
    """Text, parts, or nothing in one of its forms."""
    if not step.texts:
        return ("", [], [{"type": kind, "text": ""}])[step.odd % 3]
    if len(step.texts) == 1 and step.odd % 2:
        return step.texts[0]
    parts: list[dict[str, Any]] = [{"type": kind, "text": text} for text in step.texts]
    if kind == "text" and step.odd % 5 == 0 and step.kind == "user":
        parts[-1]["cache_control"] = {"type": "ephemeral"}
    return parts


def _turn(turns: list[dict[str, Any]], role: str, blocks: list[Any]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": [*blocks]})


def _chat_call(identifier: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": identifier, "type": "function", "function": function, "index": 0}


def _tool(surface: str, name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"q": {}}}
    if surface == "messages":
        return {"name": name, "input_schema": schema}
    if surface == "responses":
        return {"type": "function", "name": name, "parameters": schema}
    return {"type": "function", "function": {"name": name, "parameters": schema}}
