"""A server from a wheel, started on demand and stopped after its last user."""
