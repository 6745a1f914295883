"""Everything that a person with redis-cli can do to a healthy keyspace."""

from __future__ import annotations

from tests.integrity import damaged_documents, damaged_entries

DAMAGES = [*damaged_entries.DAMAGES, *damaged_documents.DAMAGES]
