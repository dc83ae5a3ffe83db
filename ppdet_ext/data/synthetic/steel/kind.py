"""Steel sheets as the writer sees them: Severstal's layout."""

import cv2
import numpy as np

from ppdet_ext.data.formats.rle_csv import SEVERSTAL
from ppdet_ext.data.synthetic.base import Kind, Row
from ppdet_ext.data.synthetic.flags import DEFAULTS
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .defects import CLASS_IDS
from .recipe import BLOCK
from .sheet import make_sheet


class SteelKind(Kind):
    """train_images/sheet_00000.jpg, grey with three channels as Kaggle's are; a row per sheet and class it shows."""

    version = 1
    noun = "sheet"
    folder = "train_images"
    form = SEVERSTAL[0]
    class_ids = tuple(CLASS_IDS)
    block = BLOCK
    images, height, width = DEFAULTS["steel"]

    def check_size(self, height: int, width: int) -> None:
        if height < 64 or width < 2 * height:
            raise UserError(f"sheets of {width}×{height}: height must be ≥ 64, width ≥ 2 × height")

    def draw(self, seed: int, index: int, height: int, width: int) -> tuple[np.ndarray, list[Row]]:
        sheet = make_sheet(seed, index, height, width)
        return cv2.cvtColor(sheet.image, cv2.COLOR_GRAY2BGR), class_rows(sheet.labels)

    def class_of(self, row: Row) -> int:
        return int(row[0])


def class_rows(labels: np.ndarray) -> list[Row]:
    """The CSV rows of one label map (h, w) uint8: (class id, Kaggle RLE), classes in order."""
    masks = [(str(k), Rle.from_bitmap(labels == k)) for k in CLASS_IDS if (labels == k).any()]
    height, width = labels.shape
    return [row[1:] for row in SEVERSTAL[0].annotation("", height, width, masks, ())] if masks else []
