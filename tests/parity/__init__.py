"""Random histories, told to Keyweave and to PostgreSQL: every result and every error must be the same."""
