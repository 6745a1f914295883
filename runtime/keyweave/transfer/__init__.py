"""Exports a namespace to a file, imports such a file, and clears a namespace."""
