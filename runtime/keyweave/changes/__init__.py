"""The parts of a write: the plan that the server applies, and the unit of work of a transaction."""
