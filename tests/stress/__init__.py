"""The contract's concurrent stories, many times in a row: what is left to luck has to hold every time."""
