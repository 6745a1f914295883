"""The channel over a client of redis-py. No other package imports redis-py.

Pools, TLS, credentials and the discovery of servers are redis-py's. The bytes of an exchange are not: redis-py limits the
wait for each piece of a reply instead of the exchange, raises some error replies as failures of the connection, and sends
commands again when it believes that this is safe. So this package takes a connection from the client's pool, lets redis-py
connect it, without retries, and exchanges one pipeline on its socket. Then the connection goes back to the pool.
"""
