"""The lists of fields by surface: the fields that providers document, and those that may be sent
where a budget, a window or a key bounds a request.

No list has fields that choose a model, a route, a provider or a plugin, that set who pays, or that
store something at the provider. A bounded list has no fields that multiply an answer, or that make
the model read input of unknown size.
"""

from __future__ import annotations

from typing import Any, Final

from server.upstream.fields import Fields, of_kinds
from server.wire.tools import runs_in_chat, runs_in_messages, runs_in_responses

_STREAM_OPTIONS: Final = Fields.named("include_usage", "include_obfuscation")
_CACHE: Final = Fields.named("type", "ttl", "scope")
_REASONING: Final = Fields.named(
    "effort", "enabled", "exclude", "generate_summary", "max_tokens", "summary", "context"
)
_THINKING: Final = Fields.named("type", "budget_tokens", "clear_thinking", "display", "keep")
_FORMAT: Final = Fields.named(
    "type", json_schema=Fields.named("name", "description", "schema", "strict")
)
# The other arguments of a template can hold text whose tokens are not counted.
_TEMPLATE: Final = Fields.named("enable_thinking", "thinking", "reasoning_effort")

_FUNCTION: Final = Fields.named("name", "description", "parameters", "strict")
_CUSTOM: Final = Fields.named("name", "description", "format")
_CHAT_TOOL: Final = Fields(
    {**dict.fromkeys(("type", "cache_control")), "function": _FUNCTION, "custom": _CUSTOM},
    runs_in_chat,
)
_CHAT_CHOICE: Final = of_kinds(
    Fields.named("type", "function", "custom", allowed_tools=Fields.named("mode", "tools")),
    *("function", "custom", "allowed_tools"),
    default="function",
)

_CHAT_PART: Final = of_kinds(
    Fields(
        {
            **dict.fromkeys(("type", "text", "refusal", "thinking", "signature", "data", "closed")),
            "cache_control": _CACHE,
            "prompt_cache_breakpoint": None,
            "image_url": Fields.named("url", "detail"),
            "video_url": Fields.named("url"),
            "input_audio": Fields.named("data", "format"),
            "file": Fields.named("file_data", "file_id", "filename"),
        }
    ),
    *("text", "refusal", "image_url", "video_url", "input_audio", "file"),
    *("thinking", "redacted_thinking"),
)
_CHAT_CALL: Final = Fields.named(
    "id",
    "index",
    "type",
    "extra_content",
    function=Fields.named("name", "arguments"),
    custom=Fields.named("name", "input"),
)
_CHAT_MESSAGE: Final = Fields(
    {
        **dict.fromkeys(("role", "name", "tool_call_id", "refusal", "prefix", "partial")),
        **dict.fromkeys(("reasoning", "reasoning_content", "reasoning_details", "extra_content")),
        **dict.fromkeys(("annotations", "thinking_blocks", "provider_specific_fields")),
        "cache_control": _CACHE,
        "content": _CHAT_PART,
        "tool_calls": _CHAT_CALL,
        "function_call": Fields.named("name", "arguments"),
        "audio": Fields.named("id"),
    }
)

# The fields of chat completions in OpenAI's documentation.
OPENAI_CHAT: Final = frozenset(
    {
        *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs"),
        *("max_completion_tokens", "max_tokens", "messages", "metadata", "modalities", "model"),
        *("moderation", "n", "parallel_tool_calls", "prediction", "presence_penalty"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        *("reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier"),
        *("stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "user", "verbosity", "web_search_options"),
    }
)
# A moderation names its own model, a failed prediction is billed besides the answer, and a search
# has a fee.
UNBOUNDED: Final = frozenset({"moderation", "prediction", "web_search_options"})
SAMPLING: Final = frozenset({"min_p", "repetition_penalty", "top_a", "top_k"})
# Fields by which other providers are told to think, and how much of the thoughts to show.
THINKING: Final = frozenset(
    {
        *("chat_template_kwargs", "enable_thinking", "include_reasoning", "reasoning"),
        *("reasoning_format", "thinking", "thinking_budget"),
    }
)
_CHAT_INNER: Final[dict[str, Fields]] = {
    "messages": _CHAT_MESSAGE,
    "tools": _CHAT_TOOL,
    "tool_choice": _CHAT_CHOICE,
    "functions": _FUNCTION,
    "function_call": Fields.named("name"),
    "response_format": _FORMAT,
    "stream_options": _STREAM_OPTIONS,
    "reasoning": _REASONING,
    "thinking": _THINKING,
    "chat_template_kwargs": _TEMPLATE,
    "modalities": of_kinds(Fields({}), "text", "audio"),
    "audio": Fields.named("format", "voice"),
}


def open_list(names: frozenset[str]) -> Fields:
    """A list of names, with anything inside the fields."""
    return Fields(dict.fromkeys(names))


def bounded_chat(names: frozenset[str]) -> Fields:
    """A list for chat completions where a request is bounded."""
    return Fields({name: _CHAT_INNER.get(name) for name in names - UNBOUNDED})


COMPLETIONS: Final = frozenset(
    {
        *("best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "model"),
        *("n", "presence_penalty", "prompt", "seed", "stop", "stream", "stream_options", "suffix"),
        *("temperature", "top_p", "user"),
    }
)
EMBEDDINGS: Final = frozenset(
    {
        *("dimensions", "encoding_format", "input", "input_type", "model", "output_dimension"),
        *("output_dtype", "truncate", "user"),
    }
)
BOUNDED_COMPLETIONS: Final = Fields(
    {**dict.fromkeys(COMPLETIONS | SAMPLING), "stream_options": _STREAM_OPTIONS}
)
BOUNDED_EMBEDDINGS: Final = open_list(EMBEDDINGS)

# The fields of responses in OpenAI's documentation that are not refused here, and those that Codex
# sends.
RESPONSES: Final = frozenset(
    {
        *("access_programs", "client_metadata", "context_management", "image", "include", "input"),
        *("instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "moderation"),
        *("parallel_tool_calls", "prompt", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store"),
        *("stream", "stream_options", "temperature", "text", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "truncation", "user"),
    }
)
_RESPONSES_UNBOUNDED: Final = frozenset(
    {"access_programs", "context_management", "image", "moderation", "prompt"}
)
_RESPONSES_TOOL: Final = Fields(
    {
        **dict.fromkeys(("type", "name", "description", "parameters", "strict", "format")),
        **dict.fromkeys(("async", "defer_loading", "output_schema", "execution", "environment")),
        **dict.fromkeys(("display_width", "display_height")),
        "tools": Fields(
            {
                **dict.fromkeys(("type", "name", "description", "parameters", "strict", "format")),
                **dict.fromkeys(("async", "defer_loading", "output_schema")),
            },
            runs_in_chat,
        ),
    },
    runs_in_responses,
)
_CHOICES: Final = ("function", "custom", "allowed_tools", "apply_patch", "shell", "local_shell")
_RESPONSES_CHOICE: Final = of_kinds(
    Fields.named("type", "name", "mode", tools=of_kinds(Fields.named("type", "name"), *_CHOICES)),
    *_CHOICES,
)
# Items of a conversation, without references to what the provider stores, and without those that
# make it compact the conversation.
_ITEMS: Final = frozenset(
    {
        *("message", "reasoning", "function_call", "function_call_output", "compaction"),
        *("custom_tool_call", "custom_tool_call_output", "local_shell_call"),
        *("local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call"),
        *("apply_patch_call_output", "computer_call", "computer_call_output"),
        *("configuration_update", "tool_search_call", "web_search_call", "file_search_call"),
        *("code_interpreter_call", "image_generation_call", "mcp_call", "mcp_list_tools"),
        *("mcp_approval_request", "mcp_approval_response"),
    }
)
_WITH_TOOLS: Final = frozenset({"additional_tools", "tool_search_output"})


def _is_item(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    kind = item.get("type", "message")
    if not isinstance(kind, str):
        return False
    tools = item.get("tools")
    if kind in _WITH_TOOLS and isinstance(tools, list):
        return any(map(runs_in_responses, tools))
    return kind in _ITEMS


_ITEM: Final = Fields(
    {"tools": _RESPONSES_TOOL, "reasoning": Fields.named("effort")}, _is_item, others=True
)
_RESPONSES_INNER: Final[dict[str, Fields]] = {
    "input": _ITEM,
    "reasoning": _REASONING,
    "stream_options": _STREAM_OPTIONS,
    "text": Fields.named(
        "verbosity",
        format=Fields.named("type", "name", "description", "schema", "strict"),
    ),
    "tool_choice": _RESPONSES_CHOICE,
    "tools": _RESPONSES_TOOL,
}


# The fields of compactions in OpenAI's documentation, and those of a response that Codex sends.
COMPACT: Final = frozenset(
    {
        *("image", "input", "instructions", "model", "parallel_tool_calls", "prompt_cache_key"),
        *("prompt_cache_options", "prompt_cache_retention", "reasoning", "service_tier", "text"),
        "tools",
    }
)
BOUNDED_COMPACT: Final = Fields(
    {name: _RESPONSES_INNER.get(name) for name in COMPACT - _RESPONSES_UNBOUNDED}
)


def bounded_responses(without: frozenset[str]) -> Fields:
    """The list for responses where a request is bounded. without: fields that the provider does not
    know."""
    names = RESPONSES - _RESPONSES_UNBOUNDED - without
    return Fields({name: _RESPONSES_INNER.get(name) for name in names})


# The fields of messages in Anthropic's documentation, except fallback models, who pays, and
# conversations that are stored there.
MESSAGES: Final = frozenset(
    {
        *("cache_control", "compaction", "container", "context_management", "diagnostics"),
        *("inference_geo", "max_tokens", "mcp_servers", "messages", "metadata", "model"),
        *("output_config", "service_tier", "speed", "stop_sequences", "stream", "system"),
        *("temperature", "thinking", "tool_choice", "tools", "top_k", "top_p"),
    }
)
_MESSAGES_UNBOUNDED: Final = frozenset({"compaction", "container", "mcp_servers"})
_MESSAGES_TOOL: Final = Fields(
    {
        **dict.fromkeys(("type", "name", "description", "input_schema", "input_examples")),
        **dict.fromkeys(("strict", "defer_loading", "eager_input_streaming")),
        **dict.fromkeys(("display_width_px", "display_height_px", "display_number")),
        **dict.fromkeys(("enable_zoom", "max_characters")),
        "cache_control": _CACHE,
    },
    runs_in_messages,
)
# Blocks of a conversation, including those of earlier answers, but without blocks that add tools or
# files for a container.
_BLOCKS: Final = frozenset(
    {
        *("text", "image", "document", "search_result", "thinking", "redacted_thinking"),
        *("tool_use", "tool_result", "tool_reference", "tool_removal", "server_tool_use"),
        *("mcp_tool_use", "mcp_tool_result", "compaction", "fallback"),
    }
)


def _is_block(block: Any) -> bool:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "tool_addition":
        return _adds_a_caller_tool(block.get("tool"))
    # The results of the provider's own tools in an earlier answer.
    return isinstance(kind, str) and (kind in _BLOCKS or kind.endswith("_tool_result"))


def _adds_a_caller_tool(tool: Any) -> bool:
    """Whether the added tool is one of the request's own tools, or one that the caller runs."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind == "tool_definition":
        return runs_in_messages(tool.get("definition"))
    return kind == "tool_reference"


BOUNDED_MESSAGES: Final = Fields(
    {
        **dict.fromkeys(MESSAGES - _MESSAGES_UNBOUNDED),
        "cache_control": _CACHE,
        # Its edits that make a summary are billed besides the answer.
        "context_management": Fields(
            {
                "edits": of_kinds(
                    Fields({}, others=True), "clear_thinking_20251015", "clear_tool_uses_20250919"
                )
            }
        ),
        "messages": Fields.named(
            *("role", "clear_at"),
            output_config=Fields.named("effort"),
            content=Fields({}, _is_block, others=True),
        ),
        "metadata": Fields.named("user_id"),
        "output_config": Fields.named("effort", "format", "task_budget"),
        "system": of_kinds(Fields.named("type", "text", "citations", cache_control=_CACHE), "text"),
        "thinking": _THINKING,
        "tool_choice": of_kinds(
            Fields.named("type", "name", "disable_parallel_tool_use"),
            *("auto", "any", "tool", "none"),
        ),
        "tools": _MESSAGES_TOOL,
    }
)
