"""Operators that the models are made of."""
