"""Providers: one protocol (`base`), one network layer (`transport`), one module for each kind of
API."""
