"""The faults: of the server, of the network, and of the writers."""
