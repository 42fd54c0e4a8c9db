"""Tells a webhook that a budget is nearly spent: at which shares, signed, and tried again."""
