"""Which models there are today, and what they cost."""
