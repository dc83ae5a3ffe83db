"""Sample sets drawn from a seed, each in the layout of the real one: steel sheets (Severstal), fashion (iMaterialist 2019).

python -m ppdet_ext.data.synthetic --out dataset/steel_sample --images 96 --seed 0
python -m ppdet_ext.data.synthetic --kind fashion --out dataset/fashion_sample --images 160 --seed 0
"""

from .base import part_of
from .spec import KINDS, SampleSpec, kind_of
from .steel import Sheet, make_sheet
from .writer import write_sample_set

__all__ = ["KINDS", "SampleSpec", "Sheet", "kind_of", "make_sheet", "part_of", "write_sample_set"]
