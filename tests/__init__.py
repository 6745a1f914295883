"""The test suite. Folders follow the source roots."""
