"""Adapts system turns within the messages of a Messages body to the model.

A model that supports them accepts one after a user turn, and before an answer or at the end.
Anywhere else, and for models that do not support them, it becomes a reminder in the user's turn.
The result for a turn depends only on its neighbours, so that the beginning of a conversation never
changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from server.adapting.draft import Draft
from server.adapting.reminders import reminder
from server.adapting.stand_ins import BEGIN
from server.adapting.tool_changes import CHANGES, ToolChanges
from server.model_facts import ModelFacts

Block = Mapping[str, Any]
Turn = Mapping[str, Any]
_UNTIL_NEXT: Final = "next_user_message"


def fit_system_turns(draft: Draft, facts: ModelFacts | None) -> None:
    """Moves system turns to where the model accepts them. facts: None for a model that supports
    none."""
    turns = draft.get("messages")
    if not isinstance(turns, list) or "system" not in [turn["role"] for turn in turns]:
        return
    takes = facts is not None and facts.messages.system_later == "ok"
    # An empty answer is not sent, so it does not count as a neighbour.
    placed = _Placed([turn for turn in turns if not _is_silent(turn)], takes=takes)
    if facts is None or facts.caching.kept_at_other_effort != "marker":
        placed.drop_efforts()
        _put_effort(draft, turns)
    if placed.leading:
        draft.put("system", _system(draft.get("system"), placed.leading))
    if placed.turns != turns:
        draft.put("messages", placed.turns)
    if placed.changed_tools:
        _put_tools(draft, placed.changes.applied(draft.get("tools") or ()))


class _Placed:
    """The turns with each system turn in its place. leading: those before everything else, as
    blocks of the system prompt."""

    def __init__(self, turns: Sequence[Turn], *, takes: bool) -> None:
        self.turns: list[Any] = []
        self.leading: list[Block] = []
        self.changes = ToolChanges()
        self.changed_tools = False
        self._waiting: list[Block] = []
        self._last_user = max((i for i, t in enumerate(turns) if t["role"] == "user"), default=-1)
        followers = _followers(turns)
        for index, turn in enumerate(turns):
            if turn["role"] != "system":
                self._add(turn)
            elif takes and followers[index] in (None, "assistant") and self._may_follow():
                self._keep(turn)
            else:
                self._fold(turn, index)
        if self._waiting:
            self._add({"role": "user", "content": []})
        if not self.turns:
            self.turns = [{"role": "user", "content": BEGIN}]

    def drop_efforts(self) -> None:
        """Removes efforts that apply from a turn on, where one effort is set for all turns."""
        for index, turn in enumerate(self.turns):
            if turn["role"] == "system" and "output_config" in turn:
                self.turns[index] = {k: v for k, v in turn.items() if k != "output_config"}
        self.turns = [t for t in self.turns if t["role"] != "system" or t.get("content")]

    def _may_follow(self) -> bool:
        return bool(self.turns) and self.turns[-1]["role"] != "assistant"

    def _add(self, turn: Turn) -> None:
        if not self._waiting:
            self.turns.append(turn)
            return
        blocks = _blocks(turn.get("content")) if turn["role"] == "user" else []
        n_results = sum(block.get("type") == "tool_result" for block in blocks)
        # The results of a call come before everything else that follows it.
        content = [*blocks[:n_results], *self._waiting, *blocks[n_results:]]
        self._waiting = []
        self.turns.append({"role": "user", "content": content})
        if turn["role"] != "user":
            self.turns.append(turn)

    def _keep(self, turn: Turn) -> None:
        last = self.turns[-1]
        if last["role"] != "system":
            self.turns.append(turn)
            return
        # The API accepts one of them, not two side by side.
        content = [*_blocks(last.get("content")), *_blocks(turn.get("content"))]
        self.turns[-1] = {**last, **turn, "content": content}

    def _fold(self, turn: Turn, index: int) -> None:
        blocks = self._reminders(turn, index)
        if not blocks:
            return
        if not self.turns:
            self.leading += blocks
        elif self.turns[-1]["role"] == "user":
            last = self.turns[-1]
            self.turns[-1] = {**last, "content": [*_blocks(last.get("content")), *blocks]}
        else:
            self._waiting += blocks

    def _reminders(self, turn: Turn, index: int) -> list[Block]:
        is_over = turn.get("clear_at") == _UNTIL_NEXT and index < self._last_user
        texts: list[str] = []
        marks: dict[str, Any] = {}
        for block in _blocks(turn.get("content")):
            if block.get("cache_control") is not None:
                marks = {"cache_control": block["cache_control"]}
            if block.get("type") in CHANGES:
                self.changed_tools = True
                texts += [said] if (said := self.changes.take(block)) is not None else []
            elif not is_over:
                texts += [str(block.get("text", ""))]
        text = "\n\n".join(texts).strip()
        if not text:
            return []
        # There is no other text there yet, so that no tag is needed.
        said = text if not self.turns else reminder(text)
        return [{"type": "text", "text": said, **marks}]


def _is_silent(turn: Turn) -> bool:
    if turn["role"] != "assistant":
        return False
    blocks = _blocks(turn.get("content"))
    return all(b.get("type") == "text" and not str(b.get("text", "")).strip() for b in blocks)


def _followers(turns: Sequence[Turn]) -> list[str | None]:
    """For each turn, the role of the next turn that is not a system turn; None where there is
    none."""
    found: list[str | None] = [None] * len(turns)
    for index in range(len(turns) - 2, -1, -1):
        role = turns[index + 1]["role"]
        found[index] = found[index + 1] if role == "system" else role
    return found


def _blocks(content: object) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    return list(content) if isinstance(content, list) else []


def effort_at_the_end(turns: Sequence[Turn]) -> Any:
    """The effort in the last system turn that names one; None where none does."""
    for turn in reversed(turns):
        config = turn.get("output_config")
        if isinstance(config, Mapping) and config.get("effort") is not None:
            return config["effort"]
    return None


def _put_effort(draft: Draft, turns: Sequence[Turn]) -> None:
    effort, config = effort_at_the_end(turns), draft.get("output_config")
    config = config if isinstance(config, Mapping) else {}
    if effort is not None and effort != config.get("effort"):
        draft.put("output_config", {**config, "effort": effort})


def _system(system: object, leading: list[Block]) -> list[Block]:
    return [*_blocks(system), *leading]


def _put_tools(draft: Draft, tools: list[Any]) -> None:
    if tools:
        draft.put("tools", tools)
        return
    draft.drop("tools", named=False)
    draft.drop("tool_choice", named=False)
