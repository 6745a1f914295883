"""Reads: by key, by unique value, pages, filters, lists, trees, counts, and rows locked for update."""
