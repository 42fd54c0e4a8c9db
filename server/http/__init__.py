"""HTTP between a caller and the server: bodies, headers, errors, connections that end."""
