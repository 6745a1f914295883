"""The channel to a Redis Cluster: each pipeline goes to the masters that serve the slots of its keys.

`deliver` decides what is sent where, and what a redirection or a lost node means; it does no IO. A channel of each flavour
carries out its steps, each on a channel of one node, whose connections come from redis-py.

redis-py's own map of the slots is not used: it is read without regard to an operation's deadline, and its asyncio client
may ask the same node again after MOVED. So a channel asks CLUSTER SLOTS itself.
"""
