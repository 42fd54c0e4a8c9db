"""Converts tools that are added and removed within a conversation of the Messages API to text and
to the final list of tools, for models that do not support such changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

Tool = Mapping[str, Any]
# Blocks of a system turn that change the available tools.
CHANGES: Final = frozenset({"tool_addition", "tool_removal"})
_ADDED: Final = "The tool {} is available from here on."
_REMOVED: Final = "The tool {} is no longer available."


class ToolChanges:
    """The state of the tools at the end of a conversation."""

    def __init__(self) -> None:
        self._offered: dict[str, bool] = {}
        self._defined: dict[str, Tool] = {}

    @property
    def defined(self) -> list[Tool]:
        """The tools that are defined within the conversation."""
        return list(self._defined.values())

    def take(self, block: Mapping[str, Any]) -> str | None:
        """Applies a block of CHANGES. Returns its description; None where it names no tool."""
        tool = block.get("tool")
        tool = tool if isinstance(tool, Mapping) else {}
        definition = tool.get("definition")
        name = (definition if isinstance(definition, Mapping) else tool).get("name")
        if not isinstance(name, str) or not name:
            return None
        adds = block.get("type") == "tool_addition"
        if adds and isinstance(definition, Mapping):
            self._defined[name] = definition
        self._offered[name] = adds
        return (_ADDED if adds else _REMOVED).format(name)

    def load(self, name: object) -> None:
        """Applies a reference to a tool, which loads it."""
        if isinstance(name, str) and name:
            self._offered.setdefault(name, True)

    def applied(self, tools: Iterable[Any]) -> list[Any]:
        """The tools offered at the end: from those at the beginning and those defined on the way. A
        tool that was added counts as loaded."""
        told = {_name(tool) for tool in tools}
        further = [tool for name, tool in self._defined.items() if name not in told]
        return [self._loaded(tool) for tool in (*tools, *further) if self._is_offered(tool)]

    def _is_offered(self, tool: Any) -> bool:
        return self._offered.get(_name(tool), True)

    def _loaded(self, tool: Any) -> Any:
        return without_deferral(tool) if _name(tool) in self._offered else tool


def _name(tool: Any) -> str:
    """The tool's name; where it has none, a name that no tool has."""
    name = tool.get("name") if isinstance(tool, Mapping) else None
    return name if isinstance(name, str) else ""


def without_deferral(tool: Any) -> Any:
    """A tool that is loaded at once; unchanged where it is already."""
    if not isinstance(tool, Mapping) or "defer_loading" not in tool:
        return tool
    return {name: value for name, value in tool.items() if name != "defer_loading"}
