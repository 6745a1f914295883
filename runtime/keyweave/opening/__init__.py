"""Opening a store, the same in both flavours: options are checked before anything connects."""
