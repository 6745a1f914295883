"""Keys: built from a namespace, and read back. No other package builds a key."""
