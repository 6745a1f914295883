"""The engine's contract, written once and told to every engine that claims to keep it."""
