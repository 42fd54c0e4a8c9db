"""What goes over connections, without any I/O: events, usage, service tiers, sizes."""
