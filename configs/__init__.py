"""Presets as package data: spaces, networks, targets and runs."""
