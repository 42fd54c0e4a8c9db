"""What is configured: the file, the environment, and every setting with its default."""
