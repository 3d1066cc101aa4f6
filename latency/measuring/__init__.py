"""Milliseconds of given models on a target that can be believed. Knows no tables and no search."""
