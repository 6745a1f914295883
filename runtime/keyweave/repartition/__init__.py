"""Doubling the number of a group's partitions while applications go on. docs/how-partitions-work.md has the protocol."""
