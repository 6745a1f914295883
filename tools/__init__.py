"""Programs for developers of Keyweave; nothing that is installed imports them."""
