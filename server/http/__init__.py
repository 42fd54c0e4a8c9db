"""HTTP between callers and the server: bodies, headers, errors, and connections that end early."""
