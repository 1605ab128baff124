"""Writes the tables."""

from tests.specification import FILE, written

FILE.write_text(written())
