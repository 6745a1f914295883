"""Flows: generators that yield effects and receive answers. Nothing in this package does IO or imports a shell."""
