"""Random schemas: what is accepted imports, has types, and works; what is not is refused with places."""
