"""Tests of the pages: every snippet is executed."""
