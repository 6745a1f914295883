"""Rows past their deadline: swept, in small steps, and forgotten where the server has freed them."""
