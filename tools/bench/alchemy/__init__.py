"""The contract by SQLAlchemy 2, asyncio, on asyncpg and the tables of the oracle, as its documentation shows it.

What the contract refuses is left to the database: the benchmarks provoke none of it.
"""

from __future__ import annotations
