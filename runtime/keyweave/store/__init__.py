"""One open store, without IO: context, policy, clock, scripts, counters, and the state that it has learned."""
