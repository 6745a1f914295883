"""The only package that knows bytes: settings, pools and links."""
