"""Committing changes as one plan, and removing rows with the rows that refer to them. Refusals are returned."""
