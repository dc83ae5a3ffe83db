"""Hybrid Task Cascade for PaddleDetection, on data sets of run-length-encoded masks.

Importing this package sets threads and malloc up, and nothing else; `import ppdet_ext.register` makes its parts known to
ppdet.
"""

from . import environment

environment.tune_environment()
environment.keep_freed_memory()
environment.quiet_imports()
