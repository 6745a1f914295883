"""What whoever runs Keyweave relies on: health, doctor, access rules, TLS, the compose file, the pages."""
