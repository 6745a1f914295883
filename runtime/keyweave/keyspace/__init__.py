"""Keys: built from a namespace, and parsed. No other package builds a key."""
