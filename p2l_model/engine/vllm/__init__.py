"""vLLM as an engine: the plugin that lets it load our checkpoints, and two ways to run it."""
