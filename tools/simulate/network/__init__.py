"""Virtual time, and the network between simulated clients and the server."""
