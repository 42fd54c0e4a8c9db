"""Providers: one protocol (`base`), one way onto the network (`transport`), one kind a module."""
