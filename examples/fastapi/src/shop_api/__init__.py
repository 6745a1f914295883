"""A shop on FastAPI and Keyweave: products, customers with tokens, orders, and a worker that packs them."""
