"""Weight files, read as data, and what they mean."""
