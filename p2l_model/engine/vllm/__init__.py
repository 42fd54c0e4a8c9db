"""vLLM as an engine: the plugin that teaches it our checkpoints, and two ways to run it."""
