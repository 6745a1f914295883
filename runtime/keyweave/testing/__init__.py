"""What applications test with: the pytest plugin."""
