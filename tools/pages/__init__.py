"""Pages that are written from code, so that they agree with it: `make docs` writes them, tests compare them."""
