"""Recorded jobs: their form without texts, and what they would have cost under other rules."""
