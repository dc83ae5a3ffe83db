"""The report as one HTML file, made of `report.json` and the images' pixels alone."""

from .write import page_text, read_pixels, write_page

__all__ = ["page_text", "read_pixels", "write_page"]
