"""The vocabulary of generated code: records, entities, entries, key text, merges. Values only, without IO."""
