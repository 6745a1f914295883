"""Simulated clients: processes that run the real flows of `keyweave`, each with a context of its own."""
