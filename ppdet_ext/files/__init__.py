"""Files that are there completely or not at all; caches, locks and downloads."""
