"""The HTTP endpoints, one module per concept. An endpoint parses, calls the gateway and encodes."""
