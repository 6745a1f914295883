"""The contract's concurrent stories, many times in a row: results that depend on timing must hold every time."""
