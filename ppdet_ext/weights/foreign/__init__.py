"""Checkpoints of other frameworks: what their tensors are called, and what becomes of each."""
