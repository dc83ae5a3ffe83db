"""What every data set of this package offers, whatever its files look like."""

import os
from collections.abc import Iterable

import ppdet.data.source
import ppdet.data.transform
from ppdet.core.workspace import register, serializable

from ppdet_ext.errors import UserError

from .decode import check_end, image_size
from .problems import Problems
from .record import Record, Sample, sample_of

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_CHECKS = ("header", "exists", "none")
ON_ERROR = ("error", "skip")


class InstanceDataSet:
    """A list of `Record`s that is read once, on `load()`.

    Subclasses take explicit arguments, keep each under its own name (ppdet writes them back to YAML), do no work in
    the constructor, implement `_read() -> list[Record]`, and have `class_names` and `category_ids`.
    """

    class_names: list[str]
    category_ids: list[int]

    def __init__(self) -> None:
        self._records: list[Record] | None = None

    def load(self) -> "InstanceDataSet":
        """Read the annotations; a second call does nothing. Raises: UserError naming what is wrong with them."""
        if self._records is None:
            self._records = self._read()
        return self

    parse_dataset = load

    @property
    def records(self) -> list[Record]:
        self.load()
        return self._records

    @property
    def annotated(self) -> bool:
        """Whether there are annotations at all, so that one can train on it."""
        return True

    @property
    def num_classes(self) -> int:
        return len(self.category_ids)

    def __len__(self) -> int:
        return len(self.records)

    def sample(self, index: int, targets: bool = True) -> Sample:
        """The undecoded sample of image `index`; without annotations where `targets` is false."""
        return sample_of(self.records[index], targets)

    def _read(self) -> list[Record]:
        raise NotImplementedError


def register_source(cls: type) -> type:
    """Make a data set known to ppdet: in its workspace, as a YAML tag, and in ppdet.data.source."""
    cls = serializable(register(cls))
    setattr(ppdet.data.source, cls.__name__, cls)
    return cls


def register_transform(cls: type) -> type:
    """Make a transform known to ppdet's workspace and ppdet.data.transform, where its name must be new."""
    if hasattr(ppdet.data.transform, cls.__name__):
        raise ValueError(f"ppdet has an operator named {cls.__name__} already")
    cls = register(cls)
    setattr(ppdet.data.transform, cls.__name__, cls)
    return cls


def one_of(value: str, allowed: Iterable[str], key: str) -> str:
    """`value` if it is allowed. Raises: UserError naming the key and the choices."""
    if value not in tuple(allowed):
        raise UserError(f"{key}: {value!r} is not one of {', '.join(allowed)}.")
    return value


def list_images(folder: str) -> list[str]:
    """Names of the picture files directly in `folder`, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES))


def image_is_usable(
    path: str, size: tuple[int, int], check: str, present: bool, problems: Problems, row: int | None = None
) -> bool:
    """Whether a picture can be used; otherwise it is a problem.

    "exists" asks whether it is there (`present`), "header" also for the annotated (h, w) in its header and for its end.
    `row` is that of the annotations which names the picture and its size, where one does.
    """
    if check == "none":
        return True
    name, where = os.path.basename(path), "" if row is None else f" (row {row})"
    if not present:
        problems.add(
            "images named by the annotations but missing on disk",
            f"{name}{where}",
            remedy=f"Put them into {os.path.dirname(path)}, or take them out of the annotations.",
        )
        return False
    if check == "exists":
        return True
    try:
        found = image_size(path)
        # Annotations may count pixels before or after the EXIF rotation; ReadImage is told which.
        if size == found or size == image_size(path, exif=False):
            check_end(path)
            return True
        problems.add(
            "images whose size contradicts the annotations",
            f"{name} is {found[0]}x{found[1]}, annotated {size[0]}x{size[1]} (height x width){where}",
            remedy="Use pictures of the annotated size, whose pixels the masks count, or correct height and width.",
        )
    except UserError as fault:
        problems.add("unreadable images", str(fault))
    return False
