"""The real servers that the tests run against."""
