"""Exchanges with the server: all commands are sent from here, with retries, the handshake and healing."""
