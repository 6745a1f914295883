"""The only package that reads and writes bytes: settings, pools and links."""
