"""Searching the thresholds after the model on a validation split."""
