"""One page for whoever pays: what each model is worth on these prompts, and what routing saves."""
