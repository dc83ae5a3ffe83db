"""Reading `.pdparams` and `.pdopt` files as data: numpy arrays, numbers, text and plain containers, and nothing else."""

from .entries import NAME_TABLE
from .file import read_data_file

__all__ = ["NAME_TABLE", "read_data_file"]
