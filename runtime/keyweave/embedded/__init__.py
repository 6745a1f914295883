"""A server from a wheel, started on demand and ended with its last user."""
