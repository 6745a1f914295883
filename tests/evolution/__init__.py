"""Schemas that change while their data stays: what newer and older code do to one namespace."""
