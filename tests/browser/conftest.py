"""These tests need a Chromium, so `make test-browser` runs them, and `make test` does not collect them."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("KEYWEAVE_TEST_BROWSER") else ["test_*.py"]
