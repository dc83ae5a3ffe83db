"""What a kind of sample pictures has to offer so that the writer can make a set of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ppdet_ext.data.formats.rle_csv import RleCsv

# Each fourth picture of any kind is held out.
PERIOD = 4

# The cells of one line of train.csv, those after ImageId.
Row = Sequence[str]


def part_of(index: int) -> str:
    """'val' for each fourth picture, 'train' for the others."""
    return "val" if index % PERIOD == PERIOD - 1 else "train"


class Kind(ABC):
    """A kind of pictures: its layout on disk, the defaults of its parameters, and how one is drawn.

    version: raised when the same parameters give other pixels than before, so that an older set is refused.
    noun: what one picture is called. folder: where pictures lie. form: of train.csv, whose first column is the name.
    class_ids: all classes. block: so many pictures have all classes in both parts. images, height, width: defaults.
    """

    version: int
    noun: str
    folder: str
    form: RleCsv
    class_ids: tuple[int, ...]
    block: int
    images: int
    height: int
    width: int

    @abstractmethod
    def check_size(self, height: int, width: int) -> None:
        """Raise UserError for sizes (pixels) that such a picture cannot have."""

    @abstractmethod
    def draw(self, seed: int, index: int, height: int, width: int) -> tuple[np.ndarray, list[Row]]:
        """Picture `index` of set `seed`: (h, w, 3) uint8 BGR as OpenCV stores it, and its rows in train.csv."""

    @abstractmethod
    def class_of(self, row: Row) -> int:
        """The class id of a row."""

    def name(self, index: int) -> str:
        """File name of picture `index`."""
        return f"{self.noun}_{index:05d}.jpg"

    def describe(self, rows: list[Row]) -> str:
        """What the rows of all pictures of a set hold, for people."""
        counts = {k: sum(self.class_of(row) == k for row in rows) for k in self.class_ids}
        return "rows: " + ", ".join(f"{count} of class {k}" for k, count in counts.items() if count)

    def files(self) -> dict[str, bytes]:
        """Further files of the set, by name."""
        return {}
