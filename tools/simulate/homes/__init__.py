"""The protocol of homes under the simulator: clients in virtual time, partitions on several servers, faults between any two exchanges.

scenario   what one run does, as data that a seed makes
site       servers, and what happens to exchanges with them
client     programs of operations, and clients that run them
judge      invariants of every moment, and promises to callers
play       one run
mutants    faults planted in the protocol, each of which has to be found
"""
