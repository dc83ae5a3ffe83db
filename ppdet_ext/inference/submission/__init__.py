"""Submissions: the file of a competition from the masks of its images, in a format that a template describes."""

from .format import Format
from .journal import Journal, Source
from .results import images_of_results
from .rows import ImageResult, Instance, Row, rows_of
from .table import Summary, check_table, read_table, write_table

__all__ = [
    "Format",
    "ImageResult",
    "Instance",
    "Journal",
    "Row",
    "Source",
    "Summary",
    "check_table",
    "images_of_results",
    "read_table",
    "rows_of",
    "write_table",
]
