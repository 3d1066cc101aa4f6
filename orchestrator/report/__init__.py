"""What people look at: progress while a sweep runs, tables, pictures and pages of its results afterwards."""
