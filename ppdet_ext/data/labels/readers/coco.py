"""COCO's instances JSON as tools export it: CVAT, Roboflow, labelme, EISeg, Label Studio; each with customs of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppdet_ext.data.formats.coco_annotations import checked_categories, number_of
from ppdet_ext.data.formats.coco_segmentation import demand_columns, has_segmentation, polygons_of, segmentation_mask
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Rle

from ..collector import Collector, Spoiling, Unusable, subset_of_path, tracked
from ..drawn import polygon_mask
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..parts import left_out
from ..pictures import Pictures
from ..safety import read_json

_SECTIONS = ("images", "annotations", "categories")
# Roboflow: name_jpg.rf.<hash>.jpg, one for each augmented copy of a photograph.
_COPY = ".rf."
# labelme writes them into its list of classes.
_NO_CLASS = ("_background_", "__ignore__")
_NO_MASKS = (
    "Label Studio's COCO export leaves out brush masks: export its JSON in place of it. CVAT and Roboflow export polygons and "
    "masks only of projects that have them."
)


def looks_like(head: Head) -> bool:
    """Whether a JSON has the three lists of an instances file, and its annotations are no panoptic segments."""
    if not head.keys.issuperset(_SECTIONS) or not all(isinstance(head.json[key], list) for key in _SECTIONS):
        return False
    first = head.json["annotations"][:1]
    return not first or (isinstance(first[0], dict) and "segments_info" not in first[0])


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Objects of one or more files; a category that is only the name of a project is dropped.

    Masks are polygons by pycocotools' rule, or run lengths; areas and boxes of the file are not used, for tools compute them
    by rules of their own.

    Raises: UserError naming the file and entry for what is no COCO JSON.
    """
    collector = Collector("coco", pictures)
    for path in paths:
        _File(path, read_json(path), collector).read()
    unmasked = not collector.skipped or "boxes without a mask" in collector.skipped
    return collector.result(", ".join(paths), _NO_MASKS if unmasked else "")


@dataclass(frozen=True, slots=True)
class _Crowds:
    """What a file means by iscrowd: whether its run-length masks are instances."""

    instances: bool
    number: int


class _File:
    """One JSON on its way into the collector."""

    def __init__(self, path: str, content: Any, collector: Collector) -> None:
        if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in ("images", "categories")):
            raise UserError(f"{path}: needs the lists {', '.join(_SECTIONS)}, as COCO's instances files have.")
        self.path, self.content, self.collector = path, content, collector
        annotations = content.get("annotations") or []
        if not isinstance(annotations, list):
            raise UserError(f"{path}: annotations is no list.")
        self.annotations: list[dict] = [item for item in annotations if isinstance(item, dict)]
        for position, item in enumerate(annotations):
            if not isinstance(item, dict):
                collector.skip("annotations that are no objects", f"{path}: annotation {position}")

    def read(self) -> None:
        names = self._categories()
        images = self._images()
        demand_columns(self.annotations, self.path)
        crowds = _crowds_of(self.annotations)
        if crowds.number:
            self.collector.note(_note_of(crowds))
        for position, item in enumerate(tracked(self.annotations, "Labels", "object")):
            image = images.get(id_of(item.get("image_id")))
            name = names.get(id_of(item.get("category_id")))
            where = f"annotation {item.get('id', position)}" + (f" of {image.name}" if image else "")
            try:
                if image is None:
                    raise Unusable("annotations of an image that is not listed")
                if name is None:
                    raise Spoiling("annotations of an unknown category")
                mask, polygons = self._mask(item, image.height, image.width)
                crowd = _is_crowd(item) and not (crowds.instances and isinstance(item["segmentation"], dict))
            except Unusable as reason:
                self.collector.skip(reason, where, image)
                continue
            with left_out(self.collector, where):
                self.collector.add(image, name, mask, crowd=crowd, polygons=polygons)

    def _categories(self) -> Mapping[Any, str]:
        """Names by id, without a category that is only the name of a Roboflow project."""
        entries = self.content["categories"]
        names = dict(checked_categories(self.path, entries))
        used = {id_of(item.get("category_id")) for item in self.annotations}
        above = [entry.get("supercategory") for entry in entries]
        for entry in entries:
            number, name = int(entry["id"]), str(entry["name"])
            project = name in above and entry.get("supercategory") in ("none", "", None)
            if number not in used and len(names) > 1 and (project or name in _NO_CLASS):
                del names[number]
                kind = "only the name of the others' group (Roboflow's way)" if project else "no class, and not used"
                self.collector.note(f"category {number} ({name}) left out: {kind}")
        for name in names.values():
            self.collector.add_class(name, f"{self.path}: categories")
        return names

    def _images(self) -> dict[Any, LabelledImage]:
        """Pictures by id. Raises: UserError for an entry without id or name, an id used twice, no size to be found."""
        found: dict[Any, LabelledImage] = {}
        subset = subset_of_path(self.path)
        for position, entry in enumerate(self.content["images"]):
            where = f"{self.path}: image {position}"
            if not isinstance(entry, dict) or entry.get("id") is None or not isinstance(entry.get("file_name"), str):
                raise UserError(f"{where}: needs an id and a file_name, not {str(entry)[:80]}.")
            number, name = id_of(entry["id"]), entry["file_name"]
            if number in found:
                raise UserError(f"{where}: the id {number} is used twice ({found[number].name}, {name}).")
            height, width = entry.get("height"), entry.get("width")
            if not height or not width:
                height, width = self.collector.pictures.size(name, subset)
            elif self.content.get("info") == "info":
                height, width = self._not_swapped(name, subset, height, width)
            group = name.partition(_COPY)[0] if _COPY in name else None
            found[number] = self.collector.image(name, height, width, where, subset, group)
        return found

    def _not_swapped(self, name: str, subset: str | None, height: Any, width: Any) -> tuple[Any, Any]:
        """(height, width): a version of EISeg, which is known by its info, has written one as the other."""
        file = self.collector.pictures.find(name, subset)
        sizes = {image_size(file), image_size(file, exif=False)} if file is not None else {(height, width)}
        if (height, width) in sizes or (width, height) not in sizes:
            return height, width
        self.collector.note(f"{self.path}: height and width of pictures are swapped (EISeg): read as the pictures have them")
        return width, height

    def _mask(self, item: dict, height: int, width: int) -> tuple[Rle, list[list[float]] | None]:
        """(mask, polygons as drawn where it has such). Raises: Unusable."""
        segmentation = item.get("segmentation")
        if not has_segmentation(item):
            raise Unusable("boxes without a mask" if item.get("bbox") else "annotations without a segmentation")
        try:
            if isinstance(segmentation, list):
                polygons = polygons_of(segmentation)
            else:
                return segmentation_mask(segmentation, height, width), None
        except UserError as fault:
            raise Unusable(_reason_of(str(fault))) from None
        parts = [part for part in polygons if len(part) >= 6]
        if parts and len(parts) < len(polygons):
            self.collector.note(f"{self.path}: parts of fewer than three points left out of objects that have others")
        if max(height, width) > 2 and all(0 <= value <= 1 for part in polygons for value in part):
            raise Unusable("polygons in fractions of their picture, where COCO counts pixels")
        return polygon_mask(parts or polygons, height, width), parts


def id_of(value: Any) -> Any:
    """An id that can be looked up: a number also where it is written as text."""
    value = number_of(value)
    return value if isinstance(value, int | str) else None


def _reason_of(fault: str) -> str:
    """A fault of `segmentation_mask` as what is counted."""
    reasons = {
        "its image": "masks of another size than their picture",
        "counts sum": "run lengths that do not fill their picture",
        "RLE": "run lengths that are none",
        "coordinate": "polygons with coordinates that are no numbers",
    }
    found = next((reason for part, reason in reasons.items() if part in fault), None)
    return found or "segmentations that are neither polygons nor run lengths"


def _is_crowd(item: Mapping[str, Any]) -> bool:
    """iscrowd, also where it is written as text: "0" is no crowd."""
    return item.get("iscrowd") not in (None, False, 0, "0", "", "false", "False")


def _crowds_of(annotations: list[dict]) -> _Crowds:
    """Whether run-length masks marked as crowds are instances.

    CVAT and datumaro write iscrowd 1 for each mask; trainers then pass over it and COCO's evaluation ignores it. In COCO
    itself run lengths are crowds, too, but there most objects are polygons, and nothing has `attributes`.
    """
    coded = [item for item in annotations if isinstance(item.get("segmentation"), dict)]
    number = sum(map(_is_crowd, coded))
    others = any(item.get("segmentation") and not isinstance(item["segmentation"], dict) for item in annotations)
    by_tool = any(isinstance(item.get("attributes"), dict) and "occluded" in item["attributes"] for item in annotations)
    return _Crowds(0 < number == len(coded) and (by_tool or not others), number)


def _note_of(crowds: _Crowds) -> str:
    if crowds.instances:
        return f"every RLE has iscrowd 1 ({crowds.number}): read as instances (CVAT writes it so)"
    return f"{counted(crowds.number, 'masks')} with iscrowd 1 kept as crowds: regions of several objects, which do not count"
