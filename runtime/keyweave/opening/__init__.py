"""What opening a store means in both flavours: options are checked before anything connects."""
