"""Chat completions through OpenAI's Responses API, for models that accept tools only there."""
