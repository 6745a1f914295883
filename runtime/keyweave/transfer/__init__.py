"""Export to a file, import from it, and clearing a namespace."""
