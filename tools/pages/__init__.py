"""Pages that are written from code, so that they agree with it: `make pages` writes them, tests compare them."""
