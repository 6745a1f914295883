"""Homes: which partition holds a key or unique value whose partition does not follow from it. docs/how-partitions-work.md has the protocol."""
