"""What may be wrong with a database that is adopted, or with what the caller asked for. Nothing was written.

AdoptError
├── SourceUnavailableError   PostgreSQL cannot be reached, refuses the login, or closed the connection
├── NoTableError             there is no such table or schema, or no table at all
├── NoKeyError               a table has no primary key, and no other columns that identify its rows
├── UnknownColumnError       a column that the caller, or the map of an adoption, names is not there; or one is new
├── UnsupportedTypeError     columns have types of which nothing is known
├── NameRefusedError         a name that the caller chose cannot be used in Python
└── MapError                 the map of an adoption is missing, damaged, or does not fit the generated package
"""

from __future__ import annotations

from keyweave.errors import ConfigurationError


class AdoptError(ConfigurationError):
    """A database cannot be adopted as the caller asked. Messages never contain a password."""


class SourceUnavailableError(AdoptError):
    """PostgreSQL cannot be reached, refuses the login, or closed the connection."""


class NoTableError(AdoptError):
    """There is no such table or schema, or the schemas have no table."""


class NoKeyError(AdoptError):
    """A table has no primary key, and no other columns that identify its rows."""


class UnknownColumnError(AdoptError):
    """A column that the caller or the map names is not there, or the source has a column that the map lacks."""


class UnsupportedTypeError(AdoptError):
    """Columns have types of which nothing is known."""


class NameRefusedError(AdoptError):
    """A name that the caller chose cannot be used in Python."""


class MapError(AdoptError):
    """The map of an adoption is missing, damaged, or does not fit the generated package."""
