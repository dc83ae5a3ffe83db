"""Fashion pictures as the writer sees them: the layout of iMaterialist Fashion 2019."""

import numpy as np

from ppdet_ext.data.formats.rle_csv import IMATERIALIST
from ppdet_ext.data.synthetic.base import Kind, Row
from ppdet_ext.data.synthetic.flags import DEFAULTS
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .labels import CATEGORIES, label_descriptions
from .picture import make_picture
from .recipe import BLOCK


class FashionKind(Kind):
    """train/look_00000.jpg and a row per instance, its ClassId with attributes (`0_1_7`); label_descriptions.json."""

    version = 1
    noun = "look"
    folder = "train"
    form = IMATERIALIST[0]
    class_ids = tuple(range(len(CATEGORIES)))
    block = 2 * BLOCK
    images, height, width = DEFAULTS["fashion"]

    def check_size(self, height: int, width: int) -> None:
        if height < 128 or not 0.5 * height <= width <= 1.5 * height:
            raise UserError(f"fashion pictures of {width}×{height}: height must be ≥ 128, width between 0.5 and 1.5 × height")

    def draw(self, seed: int, index: int, height: int, width: int) -> tuple[np.ndarray, list[Row]]:
        picture = make_picture(seed, index, height, width)
        objects = [
            ("_".join(map(str, (item.class_id, *item.attributes))), Rle.from_bitmap(item.mask)) for item in picture.instances
        ]
        height, width = picture.image.shape[:2]
        rows: list[Row] = [row[1:] for row in self.form.annotation("", height, width, objects, ())] if objects else []
        return np.ascontiguousarray(picture.image[..., ::-1]), rows

    def class_of(self, row: Row) -> int:
        return int(row[-1].split("_")[0])

    def files(self) -> dict[str, bytes]:
        return {"label_descriptions.json": label_descriptions()}
