"""Search truth: does a search on NAS-Bench-Macro find the better network? See `python -m benchmarks.macro --help`."""
