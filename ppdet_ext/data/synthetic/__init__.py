"""Sample sets drawn from a seed, each in the layout of the real one: steel sheets (Severstal), fashion (iMaterialist 2019).

python -m ppdet_ext.data.synthetic --out dataset/steel_sample --images 96 --seed 0
python -m ppdet_ext.data.synthetic --kind fashion --out dataset/fashion_sample --images 160 --seed 0
"""

from typing import TYPE_CHECKING

from ppdet_ext.environment import names_on_demand

if TYPE_CHECKING:
    from .base import part_of
    from .spec import KINDS, SampleSpec, kind_of
    from .steel import Sheet, make_sheet
    from .writer import write_sample_set

__all__ = ["KINDS", "SampleSpec", "Sheet", "kind_of", "make_sheet", "part_of", "write_sample_set"]
# Whoever asks for --help needs neither numpy nor OpenCV.
_MODULES = {
    "part_of": "base",
    **dict.fromkeys(("KINDS", "SampleSpec", "kind_of"), "spec"),
    **dict.fromkeys(("Sheet", "make_sheet"), "steel"),
    "write_sample_set": "writer",
}
__getattr__ = names_on_demand(__name__, _MODULES)
