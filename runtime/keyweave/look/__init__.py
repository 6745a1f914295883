"""A look at stored rows: words that people type become keys and queries, and rows become text without their secrets."""
