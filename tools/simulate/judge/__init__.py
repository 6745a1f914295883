"""Checkers: they judge a run by its history and its final state, and know nothing of how writes work."""
