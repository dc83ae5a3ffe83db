"""One picture as annotated, as found, and what is different, pixel by pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ppdet_ext.pages import Layer, Panel, Window, panels, path_of
from ppdet_ext.pages.charts import svg
from ppdet_ext.pages.formats import clipped, count, fixed
from ppdet_ext.report.schema_objects import Example, Picture, Shown
from ppdet_ext.structures import Rle

MOST_NAMES = 5
VERDICTS = {
    "tp": "right", "fp": "wrong", "ignored": "in a crowd, does not count", "fn": "missed", "crowd": "a crowd, does not count",
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """An image's outlines. paths: of its objects in their order, then of the pixels that `difference` names.

    pixels: their number by kind, tp, fp, fn, mixed; None without masks.
    """

    paths: list[str]
    difference: dict[str, int]
    pixels: dict[str, int] | None

    @property
    def size(self) -> int:
        """Bytes that the paths take."""
        return sum(map(len, self.paths))


def drawn(picture: Picture, tolerance: float) -> Drawn:
    """Outlines of a picture's objects, and of the pixels that are right, too many, missing, or of another class."""
    masks = [None if one.mask is None else Rle.from_coco(one.mask) for one in picture.objects]
    paths = [_box_path(one.box) if mask is None else path_of(mask, tolerance) for one, mask in zip(picture.objects, masks)]
    if not masks or any(mask is None for mask in masks):
        return Drawn(paths, {}, None)
    parts = {kind: mask for kind, mask in _differences(picture.objects, [mask for mask in masks if mask]).items() if mask}
    places = {kind: len(paths) + i for i, kind in enumerate(parts)}
    return Drawn(
        [*paths, *(path_of(mask, tolerance) for mask in parts.values())],
        places,
        {kind: mask.area for kind, mask in parts.items()},
    )


def _box_path(box: Sequence[float]) -> str:
    x1, y1, x2, y2 = (svg.pixel(value) for value in box)
    return f"M{x1} {y1}H{x2}V{y2}H{x1}z"


def _differences(objects: Sequence[Shown], masks: Sequence[Rle]) -> dict[str, Rle]:
    """tp: of one class in both; mixed: in both, of other classes; fp: found alone; fn: annotated alone; none inside crowds."""
    pairs = list(zip(objects, masks))
    if not pairs:
        return {}
    height, width = masks[0].size

    def joined(source: str, label: int | None = None) -> Rle:
        own = [mask for one, mask in pairs if one.source == source and label in (None, one.label) and one.verdict != "crowd"]
        return Rle.merge(own) if own else Rle.empty(height, width)

    crowds = [mask for one, mask in pairs if one.verdict == "crowd"]
    counted = Rle.merge(crowds).complement() if crowds else Rle.full(height, width)
    labels = {one.label for one in objects}
    right = Rle.merge([joined("truth", label).intersect(joined("found", label)) for label in sorted(labels)])
    truth, found = joined("truth"), joined("found")
    parts = {
        "tp": right,
        "mixed": truth.intersect(found).subtract(right),
        "fp": found.subtract(truth),
        "fn": truth.subtract(found),
    }
    return {kind: mask.intersect(counted) for kind, mask in parts.items()}


def shot(
    picture: Picture,
    outlines: Drawn,
    example: Example,
    window: Window,
    name: str,
    class_names: Sequence[str],
    stored: int,
    own: str | None,
) -> Markup:
    """An example of a group: the picture's name and what is the matter, then annotated, found, difference.

    name: of what is stored of the image. stored: number of the picture there. own: the anchor of this place.
    """
    inside = [i for i, one in enumerate(picture.objects) if _overlaps(one.box, window)]
    truths = [i for i in inside if picture.objects[i].source == "truth"]
    found = [i for i in inside if picture.objects[i].source == "found"]

    def layers(places: Sequence[int], kind: str) -> list[Layer]:
        return [
            Layer(
                i, " ".join([kind, *_classes(picture.objects[i], i == example.object)]), _title(picture.objects[i], class_names)
            )
            for i in places
        ]

    different = _difference_layers(picture, outlines, truths, found, class_names)
    shown = [
        Panel("Annotated", layers(truths, "truth"), _counted([picture.objects[i] for i in truths], class_names)),
        Panel("Found", layers(found, "prediction"), _scored([picture.objects[i] for i in found], class_names)),
        Panel("Difference", different, _pixels(outlines, window, picture), pale=True),
    ]
    head = svg.element("header", svg.element("b", picture.name), svg.element("span", example.text))
    drawn_panels = panels(name, window, shown, f"{clipped(picture.name, 60)}, {example.text}", stored)
    return svg.element("article", head, drawn_panels, class_="shot", id=own)


def _overlaps(box: Sequence[float], window: Window) -> bool:
    x1, y1, x2, y2 = box
    return x1 < window.x2 and x2 > window.x1 and y1 < window.y2 and y2 > window.y1


def _classes(one: Shown, focus: bool) -> list[str]:
    return [
        *(["crowd"] if one.verdict == "crowd" else []),
        *(["outline"] if one.mask is None else []),
        *(["focus"] if focus else []),
    ]


def _title(one: Shown, class_names: Sequence[str]) -> str:
    score = "" if one.score is None else f" {fixed(one.score, 2)}"
    iou = "" if one.iou is None else f", IoU {fixed(one.iou, 2)}"
    return f"{class_names[one.label]}{score}: {VERDICTS[one.verdict]}{iou}"


def _counted(objects: Sequence[Shown], class_names: Sequence[str]) -> str:
    """2 × scratches, pits."""
    counts = Counter(one.label for one in objects)
    names = [
        f"{number} × {clipped(class_names[label])}" if number > 1 else clipped(class_names[label])
        for label, number in counts.items()
    ]
    return _listed(names) or "nothing"


def _scored(objects: Sequence[Shown], class_names: Sequence[str]) -> str:
    return _listed([f"{clipped(class_names[one.label])} {fixed(one.score, 2)}" for one in objects]) or "nothing"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _difference_layers(
    picture: Picture, outlines: Drawn, truths: Sequence[int], found: Sequence[int], class_names: Sequence[str]
) -> list[Layer]:
    """Pixels by kind; of boxes, which have none, what was missed and found with its verdict's colour."""
    if outlines.pixels is not None:
        words = {
            "tp": "in both",
            "mixed": "in both, of another class",
            "fp": "found, not annotated",
            "fn": "annotated, not found",
        }
        return [Layer(number, kind, words[kind]) for kind, number in outlines.difference.items()]
    places = [i for i in truths if picture.objects[i].verdict == "fn"] + [
        i for i in found if picture.objects[i].verdict in ("tp", "fp")
    ]
    return [Layer(i, f"{picture.objects[i].verdict} outline focus", _title(picture.objects[i], class_names)) for i in places]


def _pixels(outlines: Drawn, window: Window, picture: Picture) -> str:
    """The numbers of pixels of a whole picture."""
    if not outlines.pixels or window.size != (picture.height, picture.width):
        return ""
    words = {"tp": "right", "mixed": "of another class", "fp": "too many", "fn": "missed"}
    return ", ".join(f"{count(number)} px {words[kind]}" for kind, number in outlines.pixels.items())
