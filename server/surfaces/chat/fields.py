"""Checks the types of a chat request's less common fields.

Adapters for providers read inside these fields, so what OpenAI's own endpoint would refuse must be
refused first. The values are left to the provider, and so are unknown fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.errors import InvalidRequestError
from server.wire.messages import are_texts

Check = Callable[[object], bool]


def check_fields(body: Mapping[str, Any]) -> None:
    """Raises InvalidRequestError, which names the first field of the wrong type."""
    for name, value in body.items():
        if name in _FIELDS and value is not None:
            is_right, kind = _FIELDS[name]
            if not is_right(value):
                raise InvalidRequestError(f"{name} must be {kind}.", param=name)
    messages = body["messages"]
    if not are_texts(messages):
        for index, message in enumerate(messages):
            _check_message(message, f"messages[{index}]")


def _check_message(message: Mapping[str, Any], param: str) -> None:
    content = message.get("content")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        kind_of_part = part["type"]
        if kind_of_part in _PART_FIELDS and kind_of_part not in part:
            where = f"{param}.content[{index}]"
            raise InvalidRequestError(f"{where} needs {kind_of_part}.", param=where)
        for name, (is_right, kind) in _PART_FIELDS.items():
            if name in part and not is_right(part[name]):
                where = f"{param}.content[{index}].{name}"
                raise InvalidRequestError(f"{where} must be {kind}.", param=where)
    for name, value in message.items():
        if name in _MESSAGE_FIELDS and value is not None:
            is_right, kind = _MESSAGE_FIELDS[name]
            if not is_right(value):
                where = f"{param}.{name}"
                raise InvalidRequestError(f"{where} must be {kind}.", param=where)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_text_or_object(value: object) -> bool:
    return isinstance(value, str | dict)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_text_or_texts(value: object) -> bool:
    return isinstance(value, str) or _are_texts(value)


def _is_function(value: object) -> bool:
    """Whether a value has the form {"name", "parameters"?, "description"?}."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return False
    return isinstance(value.get("parameters"), dict | None)


def _are_tools(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_tool, value))


def _is_tool(tool: object) -> bool:
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        return False
    return tool["type"] != "function" or _is_function(tool.get("function"))


def _are_functions(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_function, value))


def _is_choice(value: object) -> bool:
    if not isinstance(value, dict):
        return isinstance(value, str)
    function = value.get("function")
    if value.get("type") == "function" or function is not None:
        return isinstance(function, dict) and isinstance(function.get("name"), str)
    return isinstance(value.get("type"), str)


def _is_format(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    schema = value.get("json_schema")
    return schema is None or (
        isinstance(schema, dict) and isinstance(schema.get("schema", {}), dict)
    )


def _are_calls(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_call, value))


def _is_call(call: object) -> bool:
    if not isinstance(call, dict) or not isinstance(call.get("id", ""), str):
        return False
    function = call.get("function")
    if function is None:
        return str(call.get("type", "function")) != "function"
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments", ""), str)
    )


_OBJECT: Final = (_is_object, "an object")
_NUMBER: Final = (_is_number, "a number")
_WHOLE: Final = (_is_whole, "a whole number")
_TEXT: Final = (_is_text, "a string")
_FLAG: Final = (_is_flag, "true or false")
_FIELDS: Final[Mapping[str, tuple[Check, str]]] = {
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "seed": _WHOLE,
    "top_logprobs": _WHOLE,
    "logprobs": _FLAG,
    "parallel_tool_calls": _FLAG,
    "stop": (_is_text_or_texts, "a string or a list of strings"),
    "modalities": (_are_texts, "a list of strings"),
    "reasoning_effort": _TEXT,
    "user": _TEXT,
    "safety_identifier": _TEXT,
    "service_tier": _TEXT,
    "logit_bias": _OBJECT,
    "metadata": _OBJECT,
    "audio": _OBJECT,
    "thinking": _OBJECT,
    "prediction": _OBJECT,
    "tools": (_are_tools, "a list of tools, each with its type and, for a function, its name"),
    "functions": (_are_functions, "a list of functions with their names"),
    "tool_choice": (_is_choice, "a string or an object that names a function"),
    "function_call": (_is_text_or_object, "a string or an object"),
    "response_format": (_is_format, "an object with a type"),
}
_PART_FIELDS: Final[Mapping[str, tuple[Check, str]]] = {
    "text": _TEXT,
    "refusal": _TEXT,
    "image_url": (
        lambda value: isinstance(value, dict) and isinstance(value.get("url"), str),
        "an object with a url",
    ),
    "input_audio": (
        lambda value: (
            isinstance(value, dict)
            and isinstance(value.get("data"), str)
            and isinstance(value.get("format", ""), str)
        ),
        "an object with data and format",
    ),
    "file": _OBJECT,
    "cache_control": (lambda value: value is None or isinstance(value, dict), "an object"),
}
_MESSAGE_FIELDS: Final[Mapping[str, tuple[Check, str]]] = {
    "tool_calls": (_are_calls, "a list of calls, each with its function's name and arguments"),
    "function_call": _OBJECT,
    "tool_call_id": _TEXT,
    "name": _TEXT,
    "refusal": _TEXT,
    "reasoning_content": _TEXT,
    "reasoning": _TEXT,
}
