"""What one write is: the plan that the server applies, and the unit of work of a transaction."""
