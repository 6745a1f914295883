"""Asking the server: every command leaves through here, with retries, the handshake and healing."""
