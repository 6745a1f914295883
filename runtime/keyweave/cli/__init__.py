"""The `keyweave` command, assembled from entry points."""
