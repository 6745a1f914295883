"""Random histories, run on Keyweave and on PostgreSQL: every result and every error must be the same."""
