"""A schema that changes: indexes that are built beside writers, and what is retired."""
