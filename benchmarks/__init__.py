"""Measurements of what the product promises: `python -m benchmarks.NAME --json`. Nothing here is imported by it."""
