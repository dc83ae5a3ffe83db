"""Configuration files: read, merged over each other, checked, built."""
