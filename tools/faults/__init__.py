"""The campaign of faults: real servers, real writers, and faults that a seed chooses.

Each round starts a server of its own and lets 16 writers work on it through a proxy, while faults happen. Then the faults
end, the writers stop, and checkers compare what the server holds with what the writers learned.

    campaign   rounds, one after another, and their tally
    settings   what a seed chooses for one round
    round      one round
    rows       the rows that are there before a round, and those that the judge reads
    site       what faults act on: servers, the proxy between them and the writers
    kinds      the faults
    writers    processes of writers, as threads or as asyncio tasks
    history    what writers did and learned
    pulse      when the machine did not run the campaign
    judge      checkers of that history, of the final rows and of the pools
    report     what a campaign prints on the terminal
"""
