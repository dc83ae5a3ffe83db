"""Annotation and result files, read and written."""
