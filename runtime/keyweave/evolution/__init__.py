"""Schema changes: building new indexes while applications write, and retiring old indexes and field names."""
