"""Several partitions under the simulator: whole calls of repositories, from the router to the scripts, on several servers.

Clients race on the same keys and unique values into different partitions. A pipeline goes to each server for itself, so one
may have its part when another one's is lost. Everything else is as with one partition.

arena      the package, and where its rows go
masters    the servers of the partitions, as if they were one
network    sends a pipeline in parts
events     what happens to the servers
menu       what clients may do, and programs that do it
scenario   what one run does, as data that a seed makes
run        one run
judge      invariants of every moment, and of the end
mutants    faults planted in the protocol as calls use it, each of which has to be found
"""
