"""Documents: JSON to records and back, unknown members kept, renamed fields read."""
