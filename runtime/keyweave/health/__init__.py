"""How a server and a namespace are: facts, findings with what to do, and figures for gauges."""
