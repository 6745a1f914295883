"""Ways to spare a round trip for a row that another process wrote, measured beside what the runtime does.

Nothing here is a part of the runtime: these are prototypes, good enough to measure. docs/how-a-write-works.md has the decisions.
"""
