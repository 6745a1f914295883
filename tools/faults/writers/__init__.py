"""Writers: processes that work on a store in threads or in asyncio tasks, and report what they did and learned."""
