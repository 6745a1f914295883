"""`keyweave studio`: web pages of this machine that show a store, and change nothing."""
