"""OpenAI's Responses API for callers; providers that have only chat completions are bridged."""
