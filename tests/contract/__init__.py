"""The tests of the engine's contract, written once and run on every engine that implements it."""
