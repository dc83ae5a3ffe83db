"""`Rle`: the one mask type of this package, a small immutable value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.errors import UserError

from . import rle_codec, rle_polygons, rle_regions


@dataclass(frozen=True, slots=True, repr=False)
class Rle:
    """A binary mask of `height` x `width` pixels as COCO's compressed run-length string, column by column.

    Equal masks are equal, hash alike and pickle to little more than their string. Only `to_bitmap` and
    `to_polygons` decode to pixels; the cost of everything else depends on the number of runs.

        mask = Rle.from_kaggle("1 3 10 5", 256, 1600)
        for defect in mask.components(min_area=16):
            print(defect.area, defect.box, defect.to_coco())

    The constructor trusts `counts`; strings from outside go through `from_coco`, which checks them.
    """

    height: int
    width: int
    counts: bytes

    # --- making one

    @classmethod
    def from_counts(cls, counts: np.ndarray, height: int, width: int) -> "Rle":
        """From canonical counts (n,) int64, background and foreground in turn (see `rle_codec`)."""
        # Plain ints, because numpy's cannot be written as JSON.
        return cls(int(height), int(width), rle_codec.compress(counts))

    @classmethod
    def _from_edges(cls, edges: np.ndarray, height: int, width: int) -> "Rle":
        return cls.from_counts(rle_codec.counts_from_edges(edges, height * width), height, width)

    @classmethod
    def empty(cls, height: int, width: int) -> "Rle":
        """No pixel set."""
        return cls.from_counts(np.array([height * width], np.int64), height, width)

    @classmethod
    def full(cls, height: int, width: int) -> "Rle":
        """Every pixel set."""
        return cls._from_edges(np.array([0, height * width], np.int64), height, width)

    @classmethod
    def from_kaggle(
        cls, text: str, height: int, width: int, *, image: str | None = None, row: int | None = None,
        base: int = 1, relative: bool = False, column: str = "EncodedPixels",
    ) -> "Rle":  # fmt: skip
        """From "start length start length …", column-major; blank text is an empty mask, touching runs are joined.

        base: number of the first pixel. relative: starts count from the end of the run before.

        Raises: UserError naming `image`, `row`, `column` and the fault: odd count, non-integer, zero or negative run, start
            before `base`, unsorted, overlapping, beyond height · width.
        """
        where = ", ".join(f"{key} {value}" for key, value in (("image", image), ("row", row)) if value is not None) or "mask"
        counts = rle_codec.parse_kaggle(text, height * width, where, base, relative, column)
        return cls.from_counts(counts, height, width)

    @classmethod
    def from_coco(cls, obj: dict) -> "Rle":
        """From COCO's {"size": [h, w], "counts": bytes, str or list of ints}; UserError if malformed."""
        try:
            height, width = map(int, obj["size"])
            counts = obj["counts"]
            if isinstance(counts, str):
                counts = counts.encode("ascii")
            values = rle_codec.decompress(counts) if isinstance(counts, bytes) else np.array(counts, np.int64)
            return cls.from_counts(rle_codec.normalise(values.ravel(), height * width), height, width)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise UserError(f"not a COCO RLE: {reason}") from None

    @classmethod
    def from_runs(cls, starts: np.ndarray, lengths: np.ndarray, height: int, width: int) -> "Rle":
        """From 0-indexed column-major starts and lengths (n,); ValueError unless ascending and disjoint."""
        edges = np.stack([starts, np.add(starts, lengths)], axis=1).astype(np.int64).ravel()
        inside = not edges.size or (edges[0] >= 0 and edges[-1] <= height * width)
        if not inside or (edges[1:] < edges[:-1]).any() or (edges[0::2] == edges[1::2]).any():
            raise ValueError(f"runs must be positive, ascending, disjoint and inside {height}x{width} pixels")
        return cls._from_edges(edges, height, width)

    @classmethod
    def from_bitmap(cls, bitmap: np.ndarray) -> "Rle":
        """From (h, w) of bool or any number type; non-zero is set. Fastest for bool in Fortran order."""
        if bitmap.ndim != 2:
            raise ValueError(f"a bitmap has shape (h, w), not {bitmap.shape}")
        if not bitmap.size:
            return cls.empty(*bitmap.shape)
        pixels = bitmap if bitmap.dtype == bool else bitmap != 0
        height, width = bitmap.shape
        return cls(height, width, mask_utils.encode(np.asfortranarray(pixels).view(np.uint8))["counts"])

    @classmethod
    def from_window(cls, bitmap: np.ndarray, y: int, x: int, height: int, width: int) -> "Rle":
        """`from_bitmap(bitmap).place(y, x, height, width)` of (h, w) bool, in half the time. ValueError unless it fits."""
        rle_regions.demand_inside(bitmap.shape, y, x, height, width)
        return cls._from_edges(rle_regions.window_edges(bitmap, y, x, height), height, width)

    @classmethod
    def from_polygons(cls, polygons: list[list[float]], height: int, width: int) -> "Rle":
        """Union of flat polygons [x, y, x, y, …] in pixels, rasterised as in COCO; UserError if bad."""
        if not polygons:
            return cls.empty(height, width)
        return cls.from_coco(rle_polygons.rasterise(polygons, height, width))

    # --- other forms

    def to_kaggle(self, base: int = 1, relative: bool = False) -> str:
        """Kaggle's "start length …"; '' when empty. base, relative: as of `from_kaggle`."""
        return rle_codec.format_kaggle(self._edges(), base, relative)

    def to_coco(self, text: bool = False) -> dict:
        """COCO's dict; `counts` are bytes as pycocotools takes them, or str for JSON when `text`."""
        return {"size": [self.height, self.width], "counts": self.counts.decode() if text else self.counts}

    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """0-indexed column-major starts and lengths, both (n,) int64."""
        edges = self._edges()
        return edges[0::2], edges[1::2] - edges[0::2]

    def to_bitmap(self) -> np.ndarray:
        """(h, w) uint8 of 0 and 1, in Fortran order (column-major)."""
        if not self.height * self.width:
            return np.zeros(self.size, np.uint8, order="F")
        return mask_utils.decode(self.to_coco())

    def to_polygons(self) -> list[list[float]]:
        """Outer outline of every 8-connected part, along the pixel edges, flat [x, y, …]; holes are lost.

        `Rle.from_polygons(mask.to_polygons(), *mask.size)` is `mask.fill_holes()`.
        """
        if not self:
            return []
        x1, y1, x2, y2 = map(int, self.box)
        polygons = rle_polygons.outlines(self.crop(y1, x1, y2, x2).to_bitmap())
        return [(np.reshape(polygon, (-1, 2)) + (x1, y1)).ravel().tolist() for polygon in polygons]

    # --- measures

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Number of set pixels."""
        return int(mask_utils.area(self.to_coco()))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) on the outer pixel edges, so x2 - x1 is the width in pixels; zeros when empty."""
        x, y, w, h = mask_utils.toBbox(self.to_coco()).tolist()
        return x, y, x + w, y + h

    def __bool__(self) -> bool:
        """Whether any pixel is set."""
        return self.area > 0

    def __repr__(self) -> str:
        return f"Rle({self.height}x{self.width}, area={self.area}, box={self.box})"

    def iou(self, other: "Rle") -> float:
        """Intersection over union; 0 when both are empty."""
        return float(Rle.iou_matrix([self], [other])[0, 0])

    @staticmethod
    def iou_matrix(a: Sequence["Rle"], b: Sequence["Rle"], crowd: Sequence[bool] | None = None) -> np.ndarray:
        """IoU (len(a), len(b)) float64; where crowd[j], over the area of a[i] alone, as in COCO."""
        _same_size([*a, *b])
        if not a or not b:
            return np.zeros((len(a), len(b)))
        flags = [0] * len(b) if crowd is None else [int(flag) for flag in crowd]
        matrix = mask_utils.iou([mask.to_coco() for mask in a], [mask.to_coco() for mask in b], flags)
        return np.asarray(matrix, np.float64)

    @property
    def holes(self) -> int:
        """Number of background regions (4-connected) that do not reach the border."""
        return rle_regions.outside(self._background(), *self.size)[1]

    # --- geometry

    def crop(self, y1: int, x1: int, y2: int, x2: int) -> "Rle":
        """Rows [y1, y2), columns [x1, x2) as a mask of that size; ValueError unless inside."""
        if not (0 <= y1 <= y2 <= self.height and 0 <= x1 <= x2 <= self.width):
            raise ValueError(f"rows {y1}:{y2}, columns {x1}:{x2} leave a mask of {self.height}x{self.width}")
        return self._from_pieces(rle_regions.crop(self._pieces(), y1, x1, y2, x2), y2 - y1, x2 - x1)

    def place(self, y: int, x: int, height: int, width: int) -> "Rle":
        """This mask with its corner at row y, column x of an empty canvas. ValueError unless it fits."""
        rle_regions.demand_inside(self.size, y, x, height, width)
        pieces = self._pieces()
        moved = rle_regions.Pieces(pieces.column + x, pieces.top + y, pieces.bottom + y)
        return self._from_pieces(moved, height, width)

    def flip_horizontal(self) -> "Rle":
        """Mirrored left and right."""
        return self._from_pieces(rle_regions.flip_horizontal(self._pieces(), self.width), *self.size)

    def flip_vertical(self) -> "Rle":
        """Mirrored top and bottom."""
        return self._from_pieces(rle_regions.flip_vertical(self._pieces(), self.height), *self.size)

    def transpose(self) -> "Rle":
        """With rows and columns swapped, so that its runs are those along the rows."""
        # Runs would have to be cut at every row they touch; only the box is decoded, so small objects cost little.
        x1, y1, x2, y2 = map(int, self.box)
        strips = rle_regions.strips(x1, x2, y2 - y1)
        parts = [Rle.from_bitmap(self.crop(y1, x, y2, min(x + strips.step, x2)).to_bitmap().T)._pieces() for x in strips]
        return self._from_pieces(rle_regions.stack(parts, strips, y1), self.width, self.height)

    def resize(self, height: int, width: int) -> "Rle":
        """Nearest neighbour, pixel for pixel what cv2.resize with INTER_NEAREST does to the bitmap."""
        pieces = rle_regions.resize(self._pieces(), self.size, (height, width))
        return self._from_pieces(pieces, height, width)

    # --- sets and regions

    def union(self, other: "Rle") -> "Rle":
        """Pixels of either."""
        return Rle.merge([self, other])

    def intersect(self, other: "Rle") -> "Rle":
        """Pixels of both."""
        return Rle.merge([self, other], intersect=True)

    def subtract(self, other: "Rle") -> "Rle":
        """Pixels of this one that are not in the other."""
        return self.intersect(other.complement())

    def complement(self) -> "Rle":
        """Pixels that are not set."""
        return self.from_counts(rle_codec.complement(rle_codec.decompress(self.counts)), *self.size)

    @staticmethod
    def merge(masks: Sequence["Rle"], intersect: bool = False) -> "Rle":
        """Union (or intersection) of one or more masks of one size; ValueError otherwise."""
        if not masks:
            raise ValueError("merge needs at least one mask")
        _same_size(masks)
        return Rle.from_coco(mask_utils.merge([mask.to_coco() for mask in masks], intersect))

    def components(self, min_area: int = 0, connectivity: int = 8) -> list["Rle"]:
        """Connected parts (connectivity 8 or 4) of at least `min_area` pixels, ordered by first pixel."""
        if connectivity not in (4, 8):
            raise ValueError(f"connectivity is 4 or 8, not {connectivity}")
        pieces = self._pieces()
        count, labels = rle_regions.label(pieces, self.height, diagonal=connectivity == 8)
        areas = np.bincount(labels, pieces.bottom - pieces.top, minlength=count)
        if count == 1 and areas[0] >= min_area:
            return [self]
        runs = pieces.edges(self.height).reshape(-1, 2)[np.argsort(labels, kind="stable")]
        ends = np.cumsum(np.bincount(labels, minlength=count)).tolist()
        return [
            self._from_edges(runs[start:end].ravel(), *self.size)
            for start, end, area in zip([0, *ends], ends, areas.tolist())
            if area >= min_area
        ]

    def fill_holes(self) -> "Rle":
        """With every background region (4-connected) that does not reach the border filled."""
        pieces = self._background()
        open_, closed = rle_regions.outside(pieces, *self.size)
        if not closed:
            return self
        return self._from_pieces(pieces.select(open_), *self.size).complement()

    # --- runs

    def _edges(self) -> np.ndarray:
        return rle_codec.edges_from_counts(rle_codec.decompress(self.counts))

    def _pieces(self) -> rle_regions.Pieces:
        return rle_regions.split_columns(self._edges(), self.height)

    def _background(self) -> rle_regions.Pieces:
        return self.complement()._pieces()

    @classmethod
    def _from_pieces(cls, pieces: rle_regions.Pieces, height: int, width: int) -> "Rle":
        return cls._from_edges(pieces.edges(height), height, width)


def _same_size(masks: Sequence[Rle]) -> None:
    sizes = {mask.size for mask in masks}
    if len(sizes) > 1:
        raise ValueError(f"masks of one size are needed, not {sorted(sizes)}")
