"""What all HTML pages share: one style, one script, charts, pictures with layers, tables."""

from .environment import anchor, environment, json_script, render, script, style
from .outlines import path_of
from .pictures import Layer, Panel, Stored, Window, jpeg_uri, panels, store, window_around
from .tables import Column, Row, table

__all__ = [
    "Column",
    "Layer",
    "Panel",
    "Row",
    "Stored",
    "Window",
    "anchor",
    "environment",
    "jpeg_uri",
    "json_script",
    "panels",
    "path_of",
    "render",
    "script",
    "store",
    "style",
    "table",
    "window_around",
]
