"""The test suite. Folders follow the source roots; `tests.bench` holds benchmarks, not tests."""
