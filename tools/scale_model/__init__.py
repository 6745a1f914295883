"""What calls cost in a group of several partitions, measured here, and what many rows and calls would need, computed from it."""
