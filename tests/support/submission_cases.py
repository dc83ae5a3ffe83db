"""What counts of an image, for the tests of submissions."""

from collections.abc import Sequence

from ppdet_ext.structures import Detections, Rle

Object = tuple  # class id, score, mask and, if known, attributes


def found(
    name: str, objects: Sequence[Object], class_ids: Sequence[int], size: tuple[int, int] | None = None
) -> tuple[str, Detections]:
    """The image's name, and its objects as `Detections` of the masks' size."""
    masks: list[Rle] = [one[2] for one in objects]
    size = size or (masks[0].size if masks else (0, 0))
    labels = [list(class_ids).index(one[0]) for one in objects]
    attributes = [one[3] if len(one) > 3 else () for one in objects]
    return name, Detections.of_masks(*size, masks, labels, [one[1] for one in objects], attributes)


def plain(image: tuple[str, Detections]) -> tuple:
    """All that a pair of `found` holds, to be compared."""
    name, objects = image
    values = objects.labels.tolist(), objects.scores.tolist(), objects.masks, objects.attributes
    return name, objects.height, objects.width, *values
