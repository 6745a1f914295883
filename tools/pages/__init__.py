"""Pages that are written from code, so that they cannot say anything else: `make docs` writes them, tests compare them."""
