"""Submissions: the file of a competition from the masks of its images, in a format that a template describes."""

from ppdet_ext.data.formats.coco_results import images_of_results
from ppdet_ext.data.formats.submission_format import Format
from ppdet_ext.data.formats.table import NamedDetections, Row, Summary, check_table, read_table, rows_of, write_table

from .journal import Journal, Source

__all__ = [
    "Format",
    "Journal",
    "NamedDetections",
    "Row",
    "Source",
    "Summary",
    "check_table",
    "images_of_results",
    "read_table",
    "rows_of",
    "write_table",
]
