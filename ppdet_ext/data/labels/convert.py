"""`LabelSet`s of what this package knows: a data set's records, and detections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Record

from .label_set import LabelledImage, LabelledObject, LabelSet

BOXES = "boxes without a mask"
DETECTIONS = "detections"  # as a `LabelSet.format`


def labels_of_records(records: Iterable[Record], class_names: Sequence[str]) -> LabelSet:
    """The annotations of a data set, crowds too. Objects that have a box alone are counted as skipped.

    Raises: UserError for two classes or two images that files could not tell apart.
    """
    labels = LabelSet("records", _distinct(class_names), [])
    for record in records:
        image = LabelledImage(place_of(record.name), record.height, record.width, file=record.file)
        if len(record.labels) and not len(record.masks):
            labels.skipped[BOXES] += len(record.labels)
        for label, box, mask, crowd in zip(record.labels.tolist(), record.boxes.tolist(), record.masks, record.crowd.tolist()):
            image.objects.append(LabelledObject(labels.class_names[label], mask, tuple(box), crowd))
        labels.images.append(image)
    _demand_distinct_names(labels)
    return labels


def labels_of_detections(
    images: Iterable[tuple[str, Detections]],
    class_names: Sequence[str],
    lowest: float = 0.0,
    files: Mapping[str, str] | None = None,
) -> LabelSet:
    """Predictions of images by name: objects with a score, in their order.

    Args:
        lowest: lowest score that counts.
        files: paths of the pictures by name, where known.

    Raises: UserError for two classes or two images that files could not tell apart.
    """
    labels = LabelSet(DETECTIONS, _distinct(class_names), [])
    for name, found in images:
        image = LabelledImage(place_of(name), found.height, found.width, file=(files or {}).get(name))
        chosen = found.select(found.scores >= lowest)
        if len(chosen) and chosen.masks is None:
            labels.skipped[BOXES] += len(chosen)
        for label, score, mask in zip(chosen.labels.tolist(), chosen.scores.tolist(), chosen.masks or []):
            image.objects.append(LabelledObject(labels.class_names[label], mask, score=score))
        labels.images.append(image)
    _demand_distinct_names(labels)
    return labels


def place_of(name: str) -> str:
    """An image's name as a path below a folder of outputs: as it is, or its last part where it leads elsewhere."""
    path = PurePath(name)
    return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()


def _distinct(class_names: Sequence[str]) -> list[str]:
    twice = [name for name, number in Counter(class_names).items() if number > 1]
    if twice:
        raise UserError(f"Two classes are called {twice[0]!r}, which label tools tell them by. Rename one.")
    return list(class_names)


def _demand_distinct_names(labels: LabelSet) -> None:
    names = Counter(image.name for image in labels.images)
    if labels.images and (worst := names.most_common(1)[0])[1] > 1:
        raise UserError(f"Two images are called {worst[0]}; their labels could not be told apart. Rename one.")
