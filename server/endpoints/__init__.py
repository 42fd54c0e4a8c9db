"""The HTTP surface, one module per concept. An endpoint parses, calls the gateway, encodes."""
