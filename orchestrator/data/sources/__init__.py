"""Where images come from: one file per kind of source, and the registry that chooses among them."""
