"""Queries against PostgreSQL: random filters, orders and pages find the same rows in both."""
