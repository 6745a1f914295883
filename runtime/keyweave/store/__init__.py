"""One open store without its IO: context, policy, clock, scripts, counts, and what it has learned."""
