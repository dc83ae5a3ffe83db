"""Standing figures in overlapping garments with attributes."""

from .kind import FashionKind
from .picture import Picture, make_picture

__all__ = ["FashionKind", "Picture", "make_picture"]
