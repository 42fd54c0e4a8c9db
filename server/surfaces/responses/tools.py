"""Converts tools of the Responses API to functions of chat completions.

Namespaces are flattened, and custom tools take one string. The tools that a client runs under one
of the API's own names (local_shell, shell, apply_patch, tool_search) become functions of that name
with a schema. Tools that the provider runs cannot be expressed and are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.errors import InvalidRequestError

FUNCTION: Final = "function_call"
CUSTOM: Final = "custom_tool_call"
# Tools of these namespaces are called by their plain names.
_BARE: Final = ("", "functions")
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")
_MOST_CHARS: Final = 64
_HASH_BYTES: Final = 4
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_MS: Final = {"type": "integer", "description": "The longest time that it may take."}


@dataclass(frozen=True, slots=True)
class Own:
    """A tool with a name in the API. kind: the type of the items of its calls. inside: the field of
    such an item that holds the arguments; always: its fixed fields."""

    kind: str
    inside: str
    description: str
    parameters: Mapping[str, Any]
    always: Mapping[str, Any]


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


OWN: Final[Mapping[str, Own]] = {
    "local_shell": Own(
        "local_shell_call",
        "action",
        "Runs a command on the user's machine and returns its output.",
        _object(
            ["command"],
            command={**_TEXTS, "description": "The program and its arguments."},
            working_directory={"type": "string"},
            timeout_ms=_MS,
            env={"type": "object", "additionalProperties": {"type": "string"}},
        ),
        {"type": "exec", "command": [], "env": {}},
    ),
    "shell": Own(
        "shell_call",
        "action",
        "Runs commands in a shell on the user's machine and returns their output.",
        _object(
            ["commands"],
            commands={**_TEXTS, "description": "Command lines, each run on its own."},
            timeout_ms=_MS,
            max_output_length={"type": "integer", "description": "In characters."},
        ),
        {"commands": []},
    ),
    "apply_patch": Own(
        "apply_patch_call",
        "operation",
        "Creates, changes or deletes one file. A diff is in the V4A format: lines that begin with "
        "a space, - or +, after a line @@ that says where they are.",
        _object(
            ["type", "path"],
            type={"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            path={"type": "string"},
            diff={"type": "string", "description": "For all but delete_file."},
        ),
        {},
    ),
    "tool_search": Own(
        "tool_search_call",
        "arguments",
        "Looks for further tools.",
        _object(["query"], query={"type": "string"}),
        {},
    ),
}
OWN_CALLS: Final[Mapping[str, Own]] = {own.kind: own for own in OWN.values()}
_NAMES_OF_OWN: Final[Mapping[str, str]] = {own.kind: name for name, own in OWN.items()}


@dataclass(frozen=True, slots=True)
class Tool:
    """The caller's view of a function. kind: the type of the items of its calls."""

    kind: str
    name: str
    namespace: str | None = None


class Toolbox:
    """The tools of a request as functions. hosted: the types of those that the provider runs."""

    def __init__(self) -> None:
        self.hosted: list[str] = []
        self._functions: dict[Tool, dict[str, Any]] = {}
        self._tools: dict[str, Tool] = {}

    @property
    def functions(self) -> list[dict[str, Any]]:
        """The functions in the form of chat completions."""
        return list(self._functions.values())

    def add(self, tools: object, place: str) -> None:
        """Adds tools; one that exists already is replaced. place: the path of the list, for errors.

        Raises InvalidRequestError.
        """
        if tools is not None and not isinstance(tools, list):
            raise InvalidRequestError(f"{place} must be a list.", param=place)
        for index, tool in enumerate(tools or ()):
            _check(tool, f"{place}[{index}]")
            self._add(tool, f"{place}[{index}]")

    def name_of(self, kind: str, name: str, namespace: object = None) -> str:
        """The function's name for a tool of the caller's, whether or not it is offered at
        present."""
        tool = Tool(kind, name, _namespace(namespace))
        function = self._functions.get(tool)
        if function is not None:
            return str(function["function"]["name"])
        return _function_name(tool)

    def name_of_own(self, kind: str) -> str:
        """The function's name for a tool with a name in the API. kind: the type of its calls."""
        return self.name_of(kind, _NAMES_OF_OWN[kind])

    def tool_of(self, name: object) -> Tool:
        """The caller's tool behind a function's name."""
        named = str(name or "")
        return self._tools.get(named) or Tool(FUNCTION, named)

    def restrict(self, allowed: object) -> None:
        """Keeps only the tools that the entries of an `allowed_tools` name."""
        entries = allowed if isinstance(allowed, list) else []
        kept = [
            (entry.get("type"), entry.get("name"), _namespace(entry.get("namespace")))
            for entry in entries
            if isinstance(entry, dict)
        ]
        self._functions = {t: f for t, f in self._functions.items() if _entry(t) in kept}

    def chosen(self, choice: Mapping[str, Any]) -> str | None:
        """The name of the function that a tool_choice forces; None where it forces no function."""
        match choice.get("type"):
            case "function" | "custom" as kind:
                item = FUNCTION if kind == "function" else CUSTOM
                return self.name_of(item, str(choice.get("name")), choice.get("namespace"))
            case str(kind) if kind in OWN:
                return self.name_of_own(OWN[kind].kind)
        return None

    def _add(self, tool: Mapping[str, Any], place: str) -> None:
        match tool["type"]:
            case "function":
                self._put(Tool(FUNCTION, tool.get("name", "")), _function(tool))
            case "custom":
                self._put(Tool(CUSTOM, tool.get("name", "")), _taking_text(tool))
            case "namespace":
                self._add_namespace(tool, place)
            case kind if kind in OWN and _is_clients(tool):
                self._put(Tool(OWN[kind].kind, kind), _own_function(OWN[kind], tool))
            case kind:
                self.hosted.append(str(kind)[:40])

    def _add_namespace(self, group: Mapping[str, Any], place: str) -> None:
        namespace, about = _namespace(group.get("name")), group.get("description")
        tools = group.get("tools")
        if not isinstance(tools, list) or not isinstance(group.get("name"), str):
            raise InvalidRequestError(f"{place} needs a name and a list of tools.", param=place)
        for index, tool in enumerate(tools):
            _check(tool, f"{place}.tools[{index}]")
            kind = {"function": FUNCTION, "custom": CUSTOM}.get(tool["type"])
            if kind is None:
                self.hosted.append(str(tool["type"])[:40])
                continue
            made = _function(tool) if kind == FUNCTION else _taking_text(tool)
            if about and namespace is not None:
                # The description is given once; the other tools of the group follow it.
                made["description"] = _joined(made.get("description"), f"{namespace}: {about}")
                about = None
            self._put(Tool(kind, tool.get("name", ""), namespace), made)

    def _put(self, tool: Tool, function: dict[str, Any]) -> None:
        known = self._functions.get(tool)
        name = _function_name(tool) if known is None else known["function"]["name"]
        if self._tools.get(name, tool) != tool:
            name = _shortened(f"{tool.kind} {tool.namespace} {tool.name}", name)
        self._functions[tool] = {"type": "function", "function": {**function, "name": name}}
        self._tools[name] = tool


def _check(tool: object, place: str) -> None:
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise InvalidRequestError(f"{place} must be an object with a type.", param=place)
    if tool["type"] in ("function", "custom") and not isinstance(tool.get("name"), str):
        raise InvalidRequestError(f"{place}.name must be a string.", param=f"{place}.name")


def _is_clients(tool: Mapping[str, Any]) -> bool:
    """Whether the caller runs the tool: some can also be run by the provider."""
    if tool["type"] == "tool_search":
        return tool.get("execution") == "client"
    if tool["type"] == "shell":
        place = tool.get("environment")
        return isinstance(place, Mapping) and place.get("type") == "local"
    return True


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "description", "parameters", "strict")
    return {name: tool[name] for name in names if tool.get(name) is not None}


def _taking_text(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool whose input has no schema, as a function with one string."""
    text = {"type": "string", "description": "The whole input of the tool, as plain text."}
    parameters = _object(["input"], input=text) | {"additionalProperties": False}
    rules = "\n\n".join(_rules(tool.get("format")))
    described = _joined(tool.get("description"), rules)
    return {"name": tool["name"], "description": described, "parameters": parameters}


def _rules(form: object) -> Iterator[str]:
    if not isinstance(form, Mapping) or form.get("type") != "grammar":
        return
    inner = form.get("grammar")
    grammar = inner if isinstance(inner, Mapping) else form
    kind = "regular expression" if grammar.get("syntax") == "regex" else "Lark grammar"
    definition = str(grammar.get("definition", "")).strip()
    yield f"The input must follow this {kind}:\n```\n{definition}\n```"


def _own_function(own: Own, tool: Mapping[str, Any]) -> dict[str, Any]:
    given = tool.get("parameters")
    return {
        "description": str(tool.get("description") or own.description),
        "parameters": given if isinstance(given, Mapping) else own.parameters,
    }


def _joined(*texts: object) -> str:
    return "\n\n".join(str(text) for text in texts if text)


def _entry(tool: Tool) -> tuple[object, object, object]:
    """The form in which `allowed_tools` names a tool."""
    if tool.kind in _NAMES_OF_OWN:
        return tool.name, None, None
    return "custom" if tool.kind == CUSTOM else "function", tool.name, tool.namespace


def _namespace(name: object) -> str | None:
    return None if name is None or name in _BARE else str(name)


def _function_name(tool: Tool) -> str:
    """The name is the same each time, so that earlier calls keep theirs."""
    if tool.namespace is None:
        name = tool.name
        if tool.kind == FUNCTION:
            return name
    else:
        between = "" if tool.namespace.endswith("__") else "__"
        name = f"{tool.namespace}{between}{tool.name}"
    legal = _ILLEGAL.sub("_", name)
    return name if legal == name and len(name) <= _MOST_CHARS else _shortened(name, legal)


def _shortened(whole: str, name: str) -> str:
    """The name, shortened where it is too long, with a suffix that keeps it unique."""
    digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES)
    return f"{name[: _MOST_CHARS - 2 * _HASH_BYTES - 1]}_{digest.hexdigest()}"
