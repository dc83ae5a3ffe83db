"""Loaders: from a data set to batches."""

from .loader import Loader, build_loader

__all__ = ["Loader", "build_loader"]
