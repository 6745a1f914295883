"""The health of a server and a namespace: facts, findings with what to do, and figures for gauges."""
