"""The simulator: whole clients in one thread, under a seeded scheduler and virtual time.

Everything that thinks in Keyweave is a flow, a generator that yields what it wants of the world. So the simulator is a
world: it runs the real flows and the real scripts, and decides when a request arrives, whether its reply comes back, what
the clock says and when a server or a client crashes. One seed and one commit replay everything.

    scenario   what one run does, as data that a seed makes
    clients    programs of operations, and processes that run them
    network    virtual time, connections and what happens to them, events of the server
    server     commands, scripts, and a file of which a tail can be lost
    history    what clients did and learned
    judge      checkers of that history and of the final state
    shrink     makes a failing scenario small, report puts it into words
    mutants    prove that faults are found
"""
