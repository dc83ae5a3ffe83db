"""From what a CSV holds to the records of the images that are used."""

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ppdet_ext.data.formats.packed_masks import Instances, Size
from ppdet_ext.data.formats.picture_names import PictureNames
from ppdet_ext.data.images.check import image_is_usable, near_file
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Record

logger = logging.getLogger("ppdet_ext")


def renamed(instances: Instances, pictures: PictureNames, problems: Problems) -> Instances:
    """With the names of files in place of those in the CSV. Two names of one file, and two files of a name, are problems."""
    files: dict[str, str] = {}
    taken: set[str] = set()
    for name in instances.names.tolist():
        try:
            file = pictures.file_of(name)
        except UserError as fault:
            file = name
            problems.add("names of several pictures", str(fault), name)
        if file in taken:
            problems.add("pictures under two names", f"{file}, which is {name!r} too", file)
        taken.add(file)
        files[name] = file
    problems.images.update(files[name] for name in problems.images & files.keys())
    return dataclasses.replace(instances, names=np.array(list(files.values()), dtype=str))


def account_for_absent(masked: Iterable[str], known: set[str], problems: Problems, folder: str) -> None:
    """Images that the CSV has masks of, but neither the folder nor the choice: their sheets would count as clean.

    Where the folder has a file of nearly the name, that is a fault; others are warned of, for a folder may hold a part.
    """
    absent = []
    for name in masked:
        if name in known:
            continue
        near = near_file(folder, name)
        if near is None:
            absent.append(name)
            continue
        problems.add(
            "images with masks whose names are not those of files",
            f"{name} (there is {near})",
            image=near,
            remedy="Write the names of the files into the CSV; !RleCsvDataSet finds files of names without a suffix.",
        )
    if absent:
        logger.warning(
            "%s: of %s with masks there is no picture in %s, and none is chosen: %s%s",
            problems.source,
            counted(len(absent), "images"),
            folder,
            ", ".join(absent[:10]),
            " …" if len(absent) > 10 else "",
        )


def usable(
    names: Sequence[str],
    listed: set[str],
    instances: Instances,
    problems: Problems,
    folder: str,
    size_of_all: Size | None,
    check: str,
    on_error: str,
) -> dict[str, Size]:
    """(height, width) of the images of these names that can be used; the others are problems.

    listed: pictures that are there. size_of_all: where no row tells it; else it is in the picture's header.
    """
    annotated = dict(zip(instances.names.tolist(), zip(map(tuple, instances.sizes.tolist()), instances.row.tolist())))
    found = {}
    for name in names:
        if name in problems.images:
            # Their rows are named already, which is all that matters where faults are errors.
            if on_error == "skip":
                problems.add("images left out altogether because of faulty rows", name)
            continue
        path = os.path.join(folder, name)
        size, row = annotated.get(name, ((0, 0), None))
        if size == (0, 0) and size_of_all is not None:
            size = size_of_all
        if size == (0, 0):
            try:
                size = image_size(path)
            except UserError as fault:
                problems.add("unreadable or missing images", f"{fault}" if row is None else f"{fault} (row {row})")
                continue
        if image_is_usable(path, size, check, name in listed, problems, row, size == size_of_all):
            found[name] = size
    return found


def wanted(instances: Instances, min_area: int, drop_attributed: bool, source: str, rows: str) -> np.ndarray:
    """Positions (n,) int64 of the instances that `min_instance_area` and `drop_attributed` leave; the log counts the others."""
    large = instances.area >= min_area
    bare = ~instances.attributed() if drop_attributed else np.ones(len(large), bool)
    things = "instances" if rows == "instance" else "components"
    small = f"smaller than min_instance_area: {min_area}"
    for kept, reason in ((large, small), (bare, "with attributes (drop_attributed)")):
        lost = int((~kept).sum())
        if lost:
            what = f"{lost} of {counted(len(kept), things)} {'is' if lost == 1 else 'are'}"
            logger.info("%s: %s %s and left out", source, what, reason)
    return np.flatnonzero(large & bare)


def records_of(
    instances: Instances,
    chosen: np.ndarray,
    sizes: Mapping[str, Size],
    ids: Mapping[str, int],
    folder: str,
    has_attributes: bool,
) -> list[Record]:
    """A record for each image of `sizes`, with those of its instances that are at the positions `chosen` (n,).

    sizes: (height, width) by name. ids: numbers by name.
    """
    chosen = chosen[np.argsort(instances.image[chosen], kind="stable")]
    first = np.searchsorted(instances.image[chosen], np.arange(len(instances.names) + 1)).tolist()
    place = {name: i for i, name in enumerate(instances.names.tolist())}
    attributes = instances.attribute_sets() if has_attributes else None
    records = []
    for name, (height, width) in sizes.items():
        at = place.get(name)
        own = chosen[:0] if at is None else chosen[first[at] : first[at + 1]]
        records.append(
            Record(
                ids[name],
                os.path.join(folder, name),
                name,
                height,
                width,
                instances.box[own],
                instances.label[own],
                instances.masks(own, height, width),
                np.zeros(len(own), bool),
                attributes=None if attributes is None else [attributes[kind] for kind in instances.kind[own].tolist()],
            )
        )
    return records
