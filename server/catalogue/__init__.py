"""The catalogue: which models there are today, and what they cost."""
