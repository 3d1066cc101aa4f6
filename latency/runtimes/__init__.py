"""Inference runtimes: one file each behind the small interface of `base`, found by name in `registry`."""
