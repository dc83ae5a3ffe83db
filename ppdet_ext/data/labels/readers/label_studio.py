"""Label Studio's JSON export (full, or JSON-MIN): brushes as bit-packed run lengths, bitmasks, polygons and ellipses.

Source: https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from ppdet_ext.data.images.check import IMAGE_SUFFIXES
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..brush_rle import decode_brush
from ..collector import Collector, Unusable, tracked
from ..drawn import ellipse_polygon, polygon_mask
from ..index_maps import set_pixels
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..parts import left_out, list_of
from ..pictures import Pictures
from ..safety import MOST_PACKED, decode_base64, open_png, read_json

# Results that are no objects, as they are counted; without a word of what has no pixels at all (choices, ratings, texts).
_NO_MASK = {
    "rectangle": "boxes without a mask",
    "keypoint": "points",
    "vector": "polylines",
    "cuboid": "cuboids",
    "video": "regions of videos",
}
# Uploading puts eight hexadecimal digits before a file's name.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_UPLOADS = re.compile(r"^(?:data/)?upload/[0-9]+/")
_LOOKED_AT = 50


def looks_like(head: Head) -> bool:
    """Whether a JSON is a list of tasks, or one of them."""
    tasks = head.json if isinstance(head.json, list) else [head.json]
    return any(_is_task(task) for task in tasks[:_LOOKED_AT])


def _is_task(task: Any) -> bool:
    if not isinstance(task, dict):
        return False
    if isinstance(task.get("data"), dict) and any(
        isinstance(task.get(key), list) for key in ("annotations", "completions", "predictions")
    ):
        return True
    return any(_short_results(value) for value in task.values())


def _short_results(value: Any) -> list[dict]:
    """The results of a key of JSON-MIN; none for any other value."""
    results = value if isinstance(value, list) else []
    return [item for item in results if isinstance(item, dict) and "original_width" in item]


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Brushes, bitmasks, polygons and ellipses of each task's annotation.

    Of several it is the one marked as ground truth, or else the newest that is not cancelled. Predictions are no labels. A task
    without an annotation is not labelled yet, and no picture of the set.

    Raises: UserError naming the file and task for what is no export.
    """
    collector = Collector("label_studio", pictures)
    for path in paths:
        content = read_json(path)
        tasks = content if isinstance(content, list) else [content]
        for position, task in enumerate(tracked(tasks, "Labels", "task")):
            if not isinstance(task, dict):
                raise UserError(f"{path}: entry {position} is no task, but {str(task)[:40]!r}.")
            _read_task(task, f"{path}: task {task.get('id', position)}", collector)
    return collector.result(", ".join(paths), "Draw with the brush, or polygons.")


def _read_task(task: dict, where: str, collector: Collector) -> None:
    results = _results_of(task, where, collector)
    if results is None:
        return
    sized = [result for result in results if result.get("original_width") and result.get("original_height")]
    name = _picture_name(task, where)
    if sized:
        height, width = sized[0]["original_height"], sized[0]["original_width"]
    elif (file := _file_of(name, collector.pictures)) is not None:
        height, width = collector.pictures.size(os.path.relpath(file, collector.pictures.folder))
    else:
        collector.skip("pictures without an object, whose size is not known (--images tells it)", where)
        return
    image = collector.image(name, height, width, where)
    image.file = image.file or _file_of(name, collector.pictures)
    labels = _labels_by_region(results)
    for position, result in enumerate(results):
        place = f"{image.name}, region {result.get('id', position)}"
        try:
            found = _object_of(result, labels, image)
            if found is not None and "radiusX" in result["value"]:
                collector.note("ellipses are read as masks, drawn as polygons of many corners")
        except Unusable as reason:
            collector.skip(reason, place, image)
            continue
        if found is None:
            continue
        for name in found.names:
            with left_out(collector, place):
                collector.add(image, name, found.mask, polygons=found.polygons)


def _results_of(task: dict, where: str, collector: Collector) -> list[dict] | None:
    """The results of the annotation that counts; None where the task is not labelled."""
    for _ in list_of(task.get("predictions")):
        collector.skip("predictions, which are no labels", where)
    if not isinstance(task.get("data"), dict):
        return [_long_form(item) for key, value in task.items() if key != "predictions" for item in _short_results(value)]
    # Versions before 1.0 have called them completions.
    annotations = [item for item in list_of(task.get("annotations", task.get("completions"))) if isinstance(item, dict)]
    for item in annotations:
        if item.get("was_cancelled"):
            collector.skip("cancelled annotations", where)
    annotations = [item for item in annotations if not item.get("was_cancelled")]
    if not annotations:
        collector.skip("tasks without an annotation", where)
        return None
    *others, chosen = sorted(annotations, key=_weight)
    for _ in others:
        collector.skip("annotations of a task that has a newer one, or one marked as ground truth", where)
    results = chosen.get("result")
    if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
        raise UserError(f"{where}: result is no list of regions.")
    return results


def _weight(annotation: dict) -> tuple[bool, str]:
    """What counts more is larger: ground truth, then the time of the last change (ISO 8601, so that text sorts)."""
    return bool(annotation.get("ground_truth")), str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _long_form(item: dict) -> dict:
    """A result of JSON-MIN, which has value and frame in one, as in the full export."""
    return {**item, "value": item}


def _labels_by_region(results: list[dict]) -> dict[Any, list[str]]:
    """Labels by region: a <Brush> and its <Labels> are two results of one id."""
    found: dict[Any, list[str]] = defaultdict(list)
    for position, result in enumerate(results):
        value = result.get("value")
        for key, names in value.items() if isinstance(value, dict) else ():
            if key.endswith("labels") and isinstance(names, list):
                known = found[str(result.get("id", position))]
                known += [name for name in names if isinstance(name, str) and name not in known]
    return found


class _Found(NamedTuple):
    names: list[str]
    mask: Rle
    polygons: list[list[float]] | None


def _object_of(result: dict, labels: dict[Any, list[str]], image: LabelledImage) -> _Found | None:
    """The object of a result, with one or more labels; None for what is no region. Raises: Unusable."""
    value = result.get("value")
    if not isinstance(value, dict):
        return None
    read = next((read for key, read in _MASKS.items() if key in value), None)
    if read is None:
        _refuse(str(result.get("type") or next((key for key in value if key.endswith("labels")), "")), value)
        return None
    if (result.get("original_height"), result.get("original_width")) != (image.height, image.width):
        raise Unusable("regions whose original_width and original_height are not those of the picture's others")
    if result.get("image_rotation"):
        raise Unusable("regions of a picture that was turned in the tool (image_rotation)")
    names = labels.get(str(result.get("id"))) or _own_labels(value)
    if not names:
        raise Unusable("regions without a label")
    return _Found(names, *read(value, image))


def _own_labels(value: dict) -> list[str]:
    lists = [names for key, names in value.items() if key.endswith("labels") and isinstance(names, list)]
    return [name for names in lists for name in names if isinstance(name, str)]


def _refuse(kind: str, value: dict) -> None:
    """Raises: Unusable for a region without a mask; nothing for a result that is no region, as choices and relations."""
    for start, reason in _NO_MASK.items():
        if kind.lower().startswith(start):
            raise Unusable(reason)
    if {"x", "y", "width", "height"} <= value.keys():
        raise Unusable(_NO_MASK["rectangle"])


def _brush(value: dict, image: LabelledImage) -> tuple[Rle, None]:
    if value.get("format", "rle") != "rle" or not isinstance(value["rle"], list):
        raise Unusable("brush masks of another format than rle")
    try:
        return decode_brush(value["rle"], image.height, image.width), None
    except UserError as fault:
        kind = "of another size than their picture" if " values, its picture" in str(fault) else "that are damaged"
        raise Unusable(f"brush masks {kind}") from None


def _polygon(value: dict, image: LabelledImage) -> tuple[Rle, list[list[float]]]:
    """Of points in percent of width and height."""
    if value.get("closed") is False:
        raise Unusable("open polygons")
    try:
        points = [(float(x) * image.width / 100, float(y) * image.height / 100) for x, y in value["points"]]
    except (TypeError, ValueError, OverflowError):
        raise Unusable("polygons with coordinates that are no numbers") from None
    polygon = [coordinate for point in points for coordinate in point]
    return polygon_mask([polygon], image.height, image.width), [polygon]


def _bitmask(value: dict, image: LabelledImage) -> tuple[Rle, None]:
    """Of a data URL: a PNG of the picture's size, whose opaque pixels are the mask."""
    text = str(value["imageDataURL"]).partition("base64,")[2]
    try:
        pixels = open_png(decode_base64(text, MOST_PACKED, image.name), image.name, image.height * image.width)
    except UserError:
        raise Unusable("bitmasks that are no PNG of their picture's size") from None
    if pixels.shape[:2] != (image.height, image.width):
        raise Unusable("bitmasks that are no PNG of their picture's size")
    return Rle.from_bitmap(pixels[..., -1] if pixels.ndim == 3 and pixels.shape[2] in (2, 4) else set_pixels(pixels)), None


def _ellipse(value: dict, image: LabelledImage) -> tuple[Rle, list[list[float]]]:
    """Of centre and radii in percent, turned clockwise by degrees."""
    try:
        x, radius_x = (float(value[key]) * image.width / 100 for key in ("x", "radiusX"))
        y, radius_y = (float(value[key]) * image.height / 100 for key in ("y", "radiusY"))
        polygon = ellipse_polygon(x, y, radius_x, radius_y, float(value.get("rotation") or 0))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Unusable("ellipses without centre and radius") from None
    return polygon_mask([polygon], image.height, image.width), [polygon]


# What a region's value has that is a mask, by its key.
_MASKS: dict[str, Callable[[dict, LabelledImage], tuple[Rle, list[list[float]] | None]]] = {
    "rle": _brush,
    "imageDataURL": _bitmask,
    "points": _polygon,
    "radiusX": _ellipse,
}


def _picture_name(task: dict, where: str) -> str:
    """The picture of a task: its uploaded file's name, or else the path in its URL (`?d=` of local files).

    Raises: UserError where there is none, or several.
    """
    if isinstance(task.get("file_upload"), str) and task["file_upload"]:
        return task["file_upload"]
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = {key: value for key, value in data.items() if isinstance(value, str) and _path_of(value)}
    names = [text for text in texts.values() if _path_of(text).lower().endswith(IMAGE_SUFFIXES)]
    names = names or [texts[key] for key in ("image", "img", "image_url", "url") if key in texts]
    if len(set(names)) != 1:
        count = "several" if names else "no"
        raise UserError(f"{where}: has {count} pictures in data ({', '.join(map(str, data))[:80]}); one in each task is read.")
    return _path_of(names[0])


def _path_of(text: str) -> str:
    """A relative path of what a task calls its picture; "" for data that is embedded."""
    if text.startswith("data:"):
        return ""
    url = urllib.parse.urlsplit(text)
    local = urllib.parse.parse_qs(url.query).get("d") if "local-files" in url.path else None
    path = local[0] if local else urllib.parse.unquote(url.path) if url.scheme or url.query else text
    return _UPLOADS.sub("", path.replace("\\", "/").lstrip("/"))


def _file_of(name: str, pictures: Pictures) -> str | None:
    """The picture's file, also where the folder has it by its name before the upload."""
    return pictures.find(name) or pictures.find(_UPLOADED.sub("", name.rpartition("/")[2], count=1))
