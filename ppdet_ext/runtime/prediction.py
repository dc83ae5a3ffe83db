"""`Prediction`: the objects found in one image, with what a program wants to do with them."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError, nearest
from ppdet_ext.structures import Detections
from ppdet_ext.structures.measurements import measurement_columns, measurement_rows

# Columns before those of `measurement_rows`, as in the table of tools/infer.py.
IMAGE, OBJECT = "image", "object"


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Detections):
    """`Detections` that know the image's name and their classes. len() is the number of objects; it can be pickled.

    boxes (n, 4) float32 x1 y1 x2 y2, right and bottom edges exclusive, in pixels of the picture; scores (n,) float32, falling;
    labels (n,) int64 from 0; masks: n `Rle`, or None of a model without masks.

    Attributes:
        name: the file's; "" of pixels.
        classes: names of all classes, by label.
        category_ids: the data set's own ids of these.
    """

    name: str = ""
    classes: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, found: Detections, name: str, classes: tuple[str, ...], category_ids: tuple[int, ...]) -> Prediction:
        """What was found, with names."""
        own = {field.name: getattr(found, field.name) for field in fields(Detections)}
        return cls(**own, name=name, classes=classes, category_ids=category_ids)

    def __repr__(self) -> str:
        """Name and size of the image, and the first objects."""
        objects = [f"{name} {score:.2f}" for name, score in zip(self.class_names[:5], self.scores.tolist())]
        more = [f"{len(self) - 5} more"] if len(self) > 5 else []
        shown = ", ".join([*objects, *more]) or "nothing"
        return f"<Prediction {f'{self.name!r} ' if self.name else ''}{self.height}x{self.width}: {shown}>"

    @property
    def class_names(self) -> list[str]:
        """The class of each object, in words."""
        return [self.classes[label] for label in self.labels.tolist()]

    def filter(self, *, score: float = 0.0, classes: Collection[str] | None = None, min_area: int = 0) -> Prediction:
        """The objects of at least this score and mask area (pixels), of these classes.

        Raises: UserError for a class that does not exist; for an area where there are no masks.
        """
        chosen = self.scores >= score
        if classes is not None:
            wanted = [classes] if isinstance(classes, str) else list(classes)
            for name in wanted:
                if name not in self.classes:
                    raise UserError(
                        f"There is no class {name!r}.{nearest(name, self.classes)} There are {', '.join(self.classes)}."
                    )
            chosen = chosen & np.isin(self.labels, [self.classes.index(name) for name in wanted])
        if min_area > 0:
            chosen = chosen & np.array([mask.area >= min_area for mask in self._masks()], bool)
        return self.select(chosen)

    def to_bitmaps(self) -> np.ndarray:
        """All masks decoded, (n, height, width) bool. Raises: UserError of a model without masks."""
        bitmaps = np.zeros((len(self), self.height, self.width), bool)
        for target, mask in zip(bitmaps, self._masks()):
            target[:] = mask.to_bitmap()
        return bitmaps

    def _masks(self) -> list:
        if self.masks is None:
            raise UserError("The model finds boxes without masks.")
        return self.masks

    def draw(
        self,
        image: Any,
        *,
        threshold: float = 0.0,
        channels: str = "rgb",
        opacity: float = 0.4,
        boxes: bool = True,
        range: str | Sequence[float] | None = None,
    ) -> np.ndarray:
        """A copy of the picture with masks, boxes, names and scores, (height, width, 3) uint8 in the order of `channels`.

        Args:
            image: as of `Predictor.predict`: pixels or a file.
            threshold: lowest score drawn.
            channels: "rgb" or "bgr", of the pixels given and returned.
            opacity: of masks, 0 to 1.
            boxes: draw these too.
            range: of pictures of more than 8 bits, as of `ReadImage`.

        Raises:
            UserError: no picture, or one of another size.
        """
        from ppdet_ext.data.images.depth import Reading
        from ppdet_ext.drawing.detections import draw_detections
        from ppdet_ext.drawing.fonts import drawable_names

        from .images import as_rgb, in_channels

        canvas = as_rgb(image, channels, (self.height, self.width), Reading.of(range=range))
        if canvas.shape[:2] != (self.height, self.width):
            size = "x".join(map(str, canvas.shape[:2]))
            raise UserError(f"The picture is {size} pixels, what was found is of one of {self.height}x{self.width}.")
        names = drawable_names(self.classes, self.category_ids)
        return in_channels(draw_detections(canvas, self, names, threshold, opacity=opacity, boxes=boxes), channels)

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO results that JSON can hold: image_id, category_id, score, bbox (x, y, w, h), segmentation (compressed RLE)."""
        results, _ = self.to_coco_results(image_id, self.category_ids)
        if self.masks is None:
            return results
        return [result | {"segmentation": mask.to_coco(text=True)} for result, mask in zip(results, self.masks)]

    def to_dataframe(self, mm_per_pixel: float | None = None) -> Any:
        """A pandas.DataFrame, a row an object: image, object (from 1), class, score, box, and what is measured of the mask.

        mm_per_pixel: the side of a pixel, for columns in millimetres too. They are those of tools/infer.py --save_results csv,
        not rounded. Raises: UserError without that package.
        """
        pandas = _package("pandas")
        rows = enumerate(measurement_rows(self, self.classes, mm_per_pixel), 1)
        table = [{IMAGE: self.name, OBJECT: number, **row} for number, row in rows]
        return pandas.DataFrame(table, columns=[IMAGE, OBJECT, *measurement_columns(mm_per_pixel)])

    def to_supervision(self) -> Any:
        """`supervision.Detections`, with class names as `data["class_name"]`. Raises: UserError without that package."""
        supervision = _package("supervision")
        return supervision.Detections(
            xyxy=self.boxes.astype(np.float32).reshape(-1, 4),
            mask=None if self.masks is None else self.to_bitmaps(),
            confidence=self.scores.astype(np.float32),
            class_id=self.labels.astype(int),
            data={"class_name": np.array(self.class_names, dtype=str)},
        )


def _package(name: str) -> Any:
    """What only some programs need. Raises: UserError, with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"The package {name} is not installed. Install it with: pip install {name}") from error
