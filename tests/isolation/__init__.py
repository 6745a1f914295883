"""Isolation: named sessions take turns, in every order there is, and what comes of each order is written down."""
