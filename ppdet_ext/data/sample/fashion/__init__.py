"""Standing figures in overlapping garments with attributes."""

from .kind import FashionKind

__all__ = ["FashionKind"]
