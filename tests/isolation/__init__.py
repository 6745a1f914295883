"""Isolation: named sessions take turns in every order, and the result of each order is recorded."""
