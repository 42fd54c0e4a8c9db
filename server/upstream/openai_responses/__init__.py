"""Chat completions through OpenAI's Responses API, for models that take tools nowhere else."""
