"""A request of each of the callers' APIs with every field that is read."""

from __future__ import annotations

from typing import Any

FUNCTION = {"name": "f", "parameters": {}}
CHAT: dict[str, Any] = {
    "model": "p2l",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [
            {"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "http://x"}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ],
    "stream": True, "stream_options": {"include_usage": True}, "n": 2, "max_tokens": 5,
    "max_completion_tokens": 6, "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "auto", "response_format": {"type": "json_object"}, "stop": ["x"], "seed": 3,
    "temperature": 1, "top_p": 1, "reasoning_effort": "low", "user": "u", "metadata": {"a": "b"},
    "logprobs": True, "top_logprobs": 2, "store": False, "service_tier": "auto", "audio": {},
    "logit_bias": {"1": 1}, "modalities": ["text"], "prediction": {"type": "content"},
    "functions": [{**FUNCTION}], "function_call": "auto", "thinking": {"type": "enabled"},
    "parallel_tool_calls": True, "web_search_options": {},
}  # fmt: skip
MESSAGES: dict[str, Any] = {
    "model": "p2l", "max_tokens": 50, "system": [{"type": "text", "text": "s"}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image", "source": {
            "type": "base64", "media_type": "image/png", "data": "aa"}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "t", "signature": "s"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [
            {"type": "text", "text": "x"}]}]},
    ],
    "stop_sequences": ["x"], "stream": True, "temperature": 1, "top_p": 1, "top_k": 5,
    "metadata": {"user_id": "u"}, "service_tier": "auto", "output_config": {"effort": "low"},
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "f"}, "thinking": {"type": "adaptive"},
}  # fmt: skip
RESPONSES: dict[str, Any] = {
    "model": "p2l", "instructions": "i", "max_output_tokens": 50, "stream": True, "store": False,
    "input": [
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "hi"},
            {"type": "input_image", "image_url": "http://x", "detail": "auto"}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "x"},
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "z"},
        {"type": "custom_tool_call", "call_id": "b", "name": "p", "namespace": "n", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": "x"},
        {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["l"]}},
        {"type": "local_shell_call_output", "id": "c", "output": "x"},
        {"type": "shell_call", "call_id": "d", "action": {"commands": ["l"]}},
        {"type": "shell_call_output", "call_id": "d", "output": [{"stdout": "x"}]},
        {"type": "tool_search_call", "call_id": "e", "execution": "client", "arguments": {"a": 1}},
        {"type": "tool_search_output", "call_id": "e", "execution": "client", "tools": []},
        {"type": "additional_tools", "role": "developer", "tools": [
            {"type": "namespace", "name": "n", "description": "d", "tools": [
                {"type": "custom", "name": "p", "format": {
                    "type": "grammar", "syntax": "lark", "definition": "start: /x/"}}]}]},
    ],
    "tools": [
        {"type": "function", **FUNCTION}, {"type": "local_shell"}, {"type": "web_search"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "tool_search", "execution": "client", "description": "d", "parameters": {}},
    ], "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"}, "temperature": 1, "top_p": 1, "user": "u",
    "metadata": {"a": "b"}, "include": ["reasoning.encrypted_content"], "truncation": "disabled",
    "top_logprobs": 2, "service_tier": "auto", "parallel_tool_calls": True, "max_tool_calls": 3,
}  # fmt: skip
COMPLETIONS = {"model": "p2l", "prompt": "x", "stream": True, "n": 2, "best_of": 2, "max_tokens": 5,
               "stream_options": {"include_usage": True}}  # fmt: skip
EMBEDDINGS = {"model": "p2l", "input": ["x"], "dimensions": 5}
