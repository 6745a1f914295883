"""Random calls on one partition and on several: results, errors and rows have to be the same after each step."""
