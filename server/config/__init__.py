"""The configuration: the file, the environment, and every setting with its default."""
