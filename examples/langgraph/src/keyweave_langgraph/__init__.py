"""LangGraph's state on Redis or Valkey: a checkpoint saver and a long-term store, blocking and asyncio.

Both work on a store of the generated package `agent_state`, which the application opens and closes.
"""

from __future__ import annotations

from keyweave_langgraph.memory import KeyweaveStore
from keyweave_langgraph.memory_aio import AsyncKeyweaveStore
from keyweave_langgraph.saver import KeyweaveSaver
from keyweave_langgraph.saver_aio import AsyncKeyweaveSaver

__all__ = ["AsyncKeyweaveSaver", "AsyncKeyweaveStore", "KeyweaveSaver", "KeyweaveStore"]
