"""What all HTML pages share: one style, one script, charts, pictures with layers, tables."""

from .environment import anchor, environment, json_script, render, script, style
from .pictures import Outline, Panel, Window, jpeg_uri, panels, window_around
from .tables import Column, Row, table

__all__ = [
    "Column",
    "Outline",
    "Panel",
    "Row",
    "Window",
    "anchor",
    "environment",
    "jpeg_uri",
    "json_script",
    "panels",
    "render",
    "script",
    "style",
    "table",
    "window_around",
]
