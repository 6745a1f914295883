"""Drift between documents and the entries derived from them: a check finds it, a repair removes it."""
