"""Keyweave beside other Python libraries for Redis: one model, one server, the same calls."""
