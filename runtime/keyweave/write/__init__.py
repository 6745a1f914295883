"""Writes: create, save, upsert, change, merge, touch, delete and transactions."""
