"""Reads: by key, by unique value, pages, filters, families, trees, counts, and rows locked for update."""
