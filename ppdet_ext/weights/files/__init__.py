"""Reading `.pdparams` and `.pdopt` files as data: numpy arrays, numbers, text and plain containers, and nothing else."""

from .paddle_file import read_data_file
from .state_dict import NAME_TABLE

__all__ = ["NAME_TABLE", "read_data_file"]
