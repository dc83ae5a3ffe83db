"""Checkpoints: one folder each, written aside, described by a manifest, published by rename."""

from ppdet_ext.files.atomic import demand_writable, write_atomic

from .compatibility import CHANGES, RunFingerprint, fingerprint_of
from .find import find_checkpoint, newest_checkpoint
from .folder import Checkpoint, Position, read_checkpoint
from .load import load_checkpoint
from .save import export_weights, save_checkpoint

__all__ = [
    "CHANGES",
    "Checkpoint",
    "Position",
    "RunFingerprint",
    "demand_writable",
    "export_weights",
    "find_checkpoint",
    "fingerprint_of",
    "load_checkpoint",
    "newest_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
    "write_atomic",
]
