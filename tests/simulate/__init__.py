"""The simulator's own tests: its server against a real one, its determinism, and a short run of it."""
