"""Sample sheets: rolled steel with four kinds of labelled defects, drawn from a seed, in Severstal's layout.

python -m ppdet_ext.data.sample --out dataset/steel_sample --images 96 --seed 0
"""

from .recipe import part_of
from .sheet import Sheet, make_sheet
from .writer import SampleSpec, sheet_name, write_sample_set

__all__ = ["SampleSpec", "Sheet", "make_sheet", "part_of", "sheet_name", "write_sample_set"]
