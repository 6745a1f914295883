"""The admin tool: commands for operators. A command opens a store, runs one flow and prints; flows decide everything."""
