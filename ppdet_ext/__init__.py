"""Hybrid Task Cascade for PaddleDetection. Importing this package registers its parts in ppdet's workspace."""

from . import compat

compat.tune_environment()
compat.import_host()
