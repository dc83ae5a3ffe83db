"""Pictures of detections and of annotations: translucent masks, outlines, boxes and legible labels."""

import colorsys
import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ppdet_ext.structures import Detections, Record, Rle

from .fonts import drawable, font_of


def _more(number: int) -> tuple[tuple[int, int, int], ...]:
    """Colours by the golden angle, one bright, one dark, one pale in turn, so that neighbours differ in more than hue."""
    kinds = ((0.85, 0.95), (0.9, 0.6), (0.45, 0.95))
    made = [colorsys.hsv_to_rgb(0.618034 * i % 1, *kinds[i % 3]) for i in range(number)]
    return tuple((round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in made)


# Red, green, blue and amber first, for the four steel classes. The first twelve differ most; data sets such as COCO need more.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 57, 53), (46, 190, 96), (66, 135, 245), (255, 193, 37), (186, 85, 211), (38, 198, 218),
    (255, 127, 80), (158, 217, 60), (240, 98, 146), (121, 134, 203), (0, 137, 123), (161, 136, 127),
    *_more(96),
)  # fmt: skip

# What becomes of pixels around a line.
DARKER = 3
DARK = np.repeat(np.arange(256, dtype=np.uint8)[:, None] // DARKER, 3, axis=1)


def colour_of(label: int) -> tuple[int, int, int]:
    """RGB colour of a contiguous class label; the palette repeats after its end."""
    return PALETTE[int(label) % len(PALETTE)]


def draw_detections(
    image: np.ndarray,
    detections: Detections,
    class_names: Sequence[str],
    threshold: float = 0.5,
    *,
    opacity: float = 0.4,
    boxes: bool = True,
) -> np.ndarray:
    """A copy of `image` with the detections that score `threshold` or more, the best drawn last (on top).

    image: (h, w), (h, w, 1) or (h, w, 3) uint8, grey or RGB. class_names: one per label; labels beyond it are
    written as numbers. opacity: of masks, 0–1. Returns (h, w, 3) uint8 RGB. ValueError where sizes disagree.
    """
    chosen = detections.select(detections.scores >= threshold)
    chosen = chosen.select(np.argsort(chosen.scores, kind="stable"))
    texts = [f"{_name(class_names, k)} {score:.2f}" for k, score in zip(chosen.labels, chosen.scores)]
    return _draw(image, chosen.boxes, chosen.labels, chosen.masks, texts, opacity, boxes)


def draw_ground_truth(
    image: np.ndarray, record: Record, class_names: Sequence[str], *, opacity: float = 0.4, boxes: bool = True
) -> np.ndarray:
    """A copy of `image` with the annotations of `record`, crowds marked as such; as `draw_detections`."""
    texts = [_name(class_names, label) + (" (crowd)" if crowd else "") for label, crowd in zip(record.labels, record.crowd)]
    return _draw(image, record.boxes, record.labels, record.masks, texts, opacity, boxes)


def _name(class_names: Sequence[str], label: int) -> str:
    return class_names[label] if 0 <= label < len(class_names) else str(label)


def _draw(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    masks: Sequence[Rle] | None,
    texts: Sequence[str],
    opacity: float,
    with_boxes: bool,
) -> np.ndarray:
    """Masks first, then boxes, then all labels, so that no mask covers a text."""
    canvas = as_rgb(image)
    for mask, label in zip(masks or (), labels):
        _paint_mask(canvas, mask, colour_of(label), opacity)
    if with_boxes:
        for box, label in zip(boxes, labels):
            _draw_box(canvas, box, colour_of(label))
    return write_labels(canvas, boxes, labels, texts)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """A contiguous (h, w, 3) uint8 copy of a grey or RGB image; ValueError for anything else."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f"an image is (h, w), (h, w, 1) or (h, w, 3) uint8, not {image.shape} {image.dtype}")
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2RGB)
    return np.array(image, order="C")


def _inside(box: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Box (4,) x1 y1 x2 y2 with exclusive ends -> its corner pixels, kept inside an image of `shape`."""
    height, width = shape[:2]
    x1, y1, x2, y2 = np.nan_to_num(np.asarray(box, np.float64))
    left, top = np.clip([np.floor(x1), np.floor(y1)], 0, [width - 1, height - 1])
    right, bottom = np.clip([np.ceil(x2) - 1, np.ceil(y2) - 1], [left, top], [width - 1, height - 1])
    return int(left), int(top), int(right), int(bottom)


def _paint_mask(canvas: np.ndarray, mask: Rle, colour: tuple[int, int, int], opacity: float) -> None:
    """Tint `canvas` (h, w, 3) under `mask` and draw the mask's outline, holes included."""
    if mask.size != canvas.shape[:2]:
        raise ValueError(f"a mask of {mask.size} does not fit an image of {canvas.shape[:2]}")
    if not mask:
        return
    shades = np.arange(256)[:, None]
    tinted = np.rint(shades * (1 - opacity) + np.array(colour) * opacity).astype(np.uint8)
    bitmap, x, y = _cut_out(mask)
    _shade(canvas[y:, x:], bitmap, tinted)
    _draw_outline(canvas, bitmap, x, y, colour)


def draw_outline(canvas: np.ndarray, mask: Rle, colour: tuple[int, int, int]) -> None:
    """Draw the outline of a mask, holes included, on a `canvas` (h, w, 3) of its size: a line of a pixel inside of it.

    Around the line pixels are darkened, so that it is seen on a background of its own colour, too.
    """
    if mask:
        _draw_outline(canvas, *_cut_out(mask), colour)


def _cut_out(mask: Rle) -> tuple[np.ndarray, int, int]:
    """Bitmap (h, w) uint8 of a mask's box and a pixel around it, and the box's left and top edges.

    No more is decoded: a hundred masks on a large photograph stay cheap.
    """
    x1, y1, x2, y2 = (int(edge) for edge in mask.box)
    x, y = max(x1 - 1, 0), max(y1 - 1, 0)
    part = mask.crop(y, x, min(y2 + 1, mask.height), min(x2 + 1, mask.width))
    return np.ascontiguousarray(part.to_bitmap()), x, y


def _shade(canvas: np.ndarray, where: np.ndarray, shades: np.ndarray) -> None:
    """Replace values by those of `shades` (256, 3) uint8 where the bitmap in the upper left corner of `canvas` is not 0."""
    region = canvas[: where.shape[0], : where.shape[1]]
    cv2.copyTo(cv2.LUT(region, shades[:, None]), where, region)


def _draw_outline(canvas: np.ndarray, bitmap: np.ndarray, x: int, y: int, colour: tuple[int, int, int]) -> None:
    rim = cv2.dilate(bitmap, np.ones((3, 3), np.uint8)) - bitmap
    _shade(canvas[y:, x:], rim, DARK)
    outlines, _ = cv2.findContours(bitmap, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, colour, 1, offset=(x, y))


def _draw_box(canvas: np.ndarray, box: np.ndarray, colour: tuple[int, int, int]) -> None:
    """A line of a pixel inside the box, on a rim as outlines of masks have."""
    x1, y1, x2, y2 = _inside(box, canvas.shape)
    left = max(x1 - 1, 0)
    for side in (
        *(canvas[row : row + 1, left : x2 + 2] for row in (y1 - 1, y2 + 1) if row >= 0),
        *(canvas[y1 : y2 + 1, column : column + 1] for column in (x1 - 1, x2 + 1) if column >= 0),
    ):
        side //= DARKER
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1)


def write_labels(canvas: np.ndarray, boxes: np.ndarray, labels: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Each text on a plate of its class colour above its box (inside it at the image's top edge)."""
    if not len(texts):
        return canvas
    height, width = canvas.shape[:2]
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    size = int(np.clip(round(height / 42), 11, 40))
    for box, label, text in zip(boxes, labels, texts):
        x1, y1, _, _ = _inside(box, canvas.shape)
        text = drawable(text)
        font = font_of(text, size)
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        plate_w, plate_h = int(right - left) + 4, int(bottom - top) + 4
        x = max(0, min(x1, width - plate_w))
        y = y1 - plate_h if y1 >= plate_h else max(0, min(y1, height - plate_h))
        colour = colour_of(label)
        pen.rectangle((x, y, x + plate_w - 1, y + plate_h - 1), fill=colour)
        pen.text((x + 2 - left, y + 2 - top), text, font=font, fill=_ink(colour))
    return np.array(picture)


def _ink(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever reads better on `colour` (relative luminance as in Rec. 709)."""
    luminance = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    return (0, 0, 0) if luminance > 125 else (255, 255, 255)


def why_nothing_is_drawn(highest: float, things: str = "objects") -> str:
    """What to do where no picture has anything drawn; `highest` is the best score of all, 0 of none."""
    if not highest:
        return f"No {things} of any score are left by the model and its PostProcess steps. Is it trained long enough?"
    # Rounded down, so that it is drawn.
    lower = math.floor(highest * 1e3) / 1e3
    return f"Nothing is drawn: the highest score found is {highest:.3g}. To see what there is: --draw_threshold {lower:g}"
