"""What faults act on: servers with an append-only file, and the proxy between them and the writers."""
