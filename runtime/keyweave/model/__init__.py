"""What generated code is written with: records, entities, entries, key text, merges. Values only; nothing here asks a server."""
