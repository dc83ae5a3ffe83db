"""`ImageFolder`: pictures without annotations, for inference."""

import os
from collections.abc import Sequence

from ppdet_ext.data.images.check import IMAGE_SUFFIXES, near_file, pictures_in
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_dataset
from ppdet_ext.structures import Record

from .base import InstanceDataSet


@register_dataset
class ImageFolder(InstanceDataSet):
    """The pictures of a folder in order of their names, or an explicit list of files. A warning counts those in sub-folders.

    Args:
        images: a folder, a single file, or a list of files.
        class_names: names of the model's classes, for those who draw.
        category_ids: the data set's ids of the classes; 1, 2, … by default.
        exif: count pixels after the EXIF rotation; as `ReadImage.exif` of the reader, which infer.py and submit.py see to.
    """

    def __init__(
        self,
        images: str | Sequence[str],
        class_names: list[str] | None = None,
        category_ids: list[int] | None = None,
        exif: bool = True,
    ):
        super().__init__()
        self.images = images
        self.class_names = list(class_names or ())
        self.category_ids = list(category_ids or range(1, len(self.class_names) + 1))
        self.exif = exif

    @property
    def annotated(self) -> bool:
        return False

    def _read(self) -> list[Record]:
        """Raises: UserError when a file is missing or no picture, or when there is none at all."""
        files = self._files()
        if not files:
            raise UserError(f"{self.images}: no picture there ({', '.join(IMAGE_SUFFIXES)}).")
        return [Record(i, file, os.path.basename(file), *image_size(file, self.exif)) for i, file in enumerate(files)]

    def _files(self) -> list[str]:
        if not isinstance(self.images, str | os.PathLike):
            return [os.fspath(file) for file in self.images]
        path = os.fspath(self.images)
        if os.path.isdir(path):
            return pictures_in(path)
        if os.path.isfile(path):
            return [path]
        near = near_file(os.path.dirname(path) or ".", os.path.basename(path))
        raise UserError(f"{path}: no such picture or folder.{f' There is {near}.' if near else ''}")
