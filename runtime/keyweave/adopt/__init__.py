"""Adoption: a schema from the catalogue of a PostgreSQL database, and its rows with their original moments."""
