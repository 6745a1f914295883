"""Test support for applications: the pytest plugin."""
