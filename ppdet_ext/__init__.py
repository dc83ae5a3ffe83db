"""Hybrid Task Cascade for PaddleDetection. Importing this package registers its parts in ppdet's workspace."""

from . import compat

compat.tune_environment()
compat.keep_freed_memory()
compat.import_host()

from . import data, modeling  # noqa: E402, F401  the environment is read when paddle is imported
