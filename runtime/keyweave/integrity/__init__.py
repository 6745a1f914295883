"""Drift between documents and what is derived from them: found by a check, mended by a repair."""
