"""Rows past their deadline: sweeping them, and forgetting rows that the server has freed."""
