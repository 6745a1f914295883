"""Stores with several partitions of a group: in which partitions a flow runs, and how the answers of several become one."""
