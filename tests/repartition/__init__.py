"""Stores with several partitions of a group."""
