"""Hybrid Task Cascade for PaddleDetection, on data sets of run-length-encoded masks.

Importing this package sets threads and malloc up, and nothing else; `import ppdet_ext.register` makes its parts known to
ppdet.
"""

from . import environment

__version__ = "0.1.0"

environment.tune_environment()
environment.keep_freed_memory()
environment.quiet_imports()
