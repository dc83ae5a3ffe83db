"""The page of an `Exploration`: sections of charts and tables, pictures with outlines, the file."""

from .write import page_text, write_page

__all__ = ["page_text", "write_page"]
