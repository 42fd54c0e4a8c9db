"""Data formats on connections, without any I/O: events, usage, service tiers, sizes."""
