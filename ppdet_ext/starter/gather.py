"""Labels and pictures brought together: what is in both, what only in one, and classes that may be one."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ppdet_ext.data.images.decode import check_end, image_size
from ppdet_ext.data.labels.label_set import LabelledImage, LabelSet
from ppdet_ext.data.labels.pictures import Pictures
from ppdet_ext.distributed.progress import track
from ppdet_ext.errors import UserError, counted, nearest

_NAMED = 5
_MANY = 1000
_UNUSABLE = "pictures that cannot be used"
_UNLABELLED = "pictures without a label file"
Item = TypeVar("Item")


def with_classes_renamed(labels: LabelSet, names: Mapping[str, str]) -> LabelSet:
    """The labels with classes called otherwise; two that are called the same are one.

    names: former name -> new one.

    Raises: UserError for a class that the labels do not have.
    """
    for name in names:
        if name not in labels.class_names:
            known = ", ".join(labels.class_names)
            raise UserError(
                f"--rename {name}: the labels have no such class.{nearest(name, labels.class_names)} Known: {known}."
            )
    new = list(dict.fromkeys(names.get(name, name) for name in labels.class_names))
    images = [
        replace(image, objects=[replace(own, class_name=names.get(own.class_name, own.class_name)) for own in image.objects])
        for image in labels.images
    ]
    return replace(labels, class_names=new, images=images)


def like_classes(class_names: Sequence[str]) -> list[list[str]]:
    """Groups of classes whose names differ only in capitals, spaces, hyphens or underscores."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in class_names:
        groups["".join(sign for sign in name.casefold() if sign not in " -_\t")].append(name)
    return [group for group in groups.values() if len(group) > 1]


def with_pictures(labels: LabelSet, pictures: Pictures, skip: bool) -> LabelSet:
    """The labels of pictures that are there and have the annotated size; the others are faults, or counted in `skipped`.

    skip: leave them out. pictures: for near names.

    Raises: UserError that counts and names them unless `skip`, or if none is left.
    """
    missing = [image for image in labels.images if image.file is None]
    wrong: list[str] = []
    unusable: list[str] = []
    kept = []
    for image in tracked(labels.images, "Pictures"):
        fault = None if image.file is None else _fault_of(image, image.file)
        if fault is not None:
            wrong.append(fault)
            unusable.append(str(image.file))
        elif image.file is not None:
            kept.append(image)
    faults = []
    if missing:
        faults.append(f"{counted(len(missing), 'labelled pictures')} not found: {_near(missing, pictures, labels.lost)}")
    if wrong:
        faults.append(f"{counted(len(wrong), 'pictures')} that cannot be used: {_some(wrong)}")
    if faults and (not skip or not kept):
        rest = "; no picture is left" if skip else ""
        leave = "" if skip else ", or leave these labels out: --on_error skip"
        raise UserError(f"Say where the pictures are: --images DIR{leave}. {'; '.join(faults)}{rest}.")
    skipped = labels.skipped.copy()
    for reason, names in (("labelled pictures that are not there", missing), (_UNUSABLE, wrong)):
        skipped.update({reason: len(names)})
    return replace(labels, images=kept, skipped=skipped, notes=[*labels.notes, *faults], lost=[*labels.lost, *unusable])


def _near(images: Sequence[LabelledImage], pictures: Pictures, masks: Sequence[str]) -> str:
    """The names of the first few, each with files that may be meant, none of the `masks`; what several share is said once."""
    names: dict[str, list[str]] = {}
    for image in images[:_NAMED]:
        text = pictures.why_missing(image.name, image.subset, {*masks}).partition(" Say where")[0].rstrip(".")
        why = text.removeprefix(f"{image.name}: ").replace(f"no such picture in {pictures.folder}. ", "")
        names.setdefault(why.replace("no such picture in ", "not in "), []).append(image.name)
    more = ", …" if len(images) > _NAMED else ""
    # The last that are named stand for all that are not.
    last = next(reversed(names), None)
    return "; ".join(f"{', '.join(named)}{more if why == last else ''}: {why}" for why, named in names.items())


def _fault_of(image: LabelledImage, file: str) -> str | None:
    """Why a picture cannot be used, or None; masks may be drawn before or after its EXIF rotation."""
    try:
        size = image_size(file)
        check_end(file)
    except UserError as error:
        return str(error)
    wanted = image.height, image.width
    if wanted == size or wanted == image_size(file, exif=False):
        return None
    return f"{image.name} is {size[1]}x{size[0]} px, its labels are for {wanted[1]}x{wanted[0]} px"


def with_unlabelled(labels: LabelSet, pictures: Pictures, keep: bool, everywhere: bool, skip: bool = False) -> LabelSet:
    """The labels with the folder's pictures that they do not name: as pictures without objects if `keep`, else counted.

    Pictures whose objects were all left out are neither.

    everywhere: look in all sub-folders, and not only where labelled pictures lie: exports hold pictures of masks, too.
    skip: leave out and count pictures that cannot be read.

    Raises: UserError for one that cannot be read, unless `skip`.
    """
    used = {os.path.realpath(image.file) for image in labels.images if image.file is not None}
    places = {os.path.dirname(file) for file in used}
    used |= {os.path.realpath(file) for file in labels.lost}
    others = []
    for name in pictures.all():
        file = os.path.join(pictures.folder or "", *name.split("/"))
        real = os.path.realpath(file)
        if real not in used and (everywhere or os.path.dirname(real) in places):
            others.append((name, file))
    if sidecars := sum(pictures.sidecars.values()):
        named = ", ".join(pictures.sidecars)
        labels = replace(labels, notes=[*labels.notes, f"{counted(sidecars, 'files')} of the system passed over: {named}"])
    if not others:
        return labels
    # Readers of formats that have a file of labels for each picture count them, too.
    skipped = Counter({reason: number for reason, number in labels.skipped.items() if not reason.startswith(_UNLABELLED)})
    if not keep:
        skipped["pictures without labels"] += len(others)
        note = f"{counted(len(others), 'pictures')} without labels left out: {_some([name for name, _ in others])}. "
        note += "If they show no object, take them as clean ones: --unlabelled keep"
        return replace(labels, skipped=skipped, notes=[*labels.notes, note])
    clean, faults = _clean(others, skip)
    notes = [*labels.notes, f"{counted(len(clean), 'pictures')} without labels taken as clean ones"]
    if faults:
        skipped[_UNUSABLE] += len(faults)
        notes.append(f"{counted(len(faults), 'pictures')} that cannot be used: {_some(faults)}")
    return replace(labels, images=[*labels.images, *clean], skipped=skipped, notes=notes)


def _clean(files: Sequence[tuple[str, str]], skip: bool) -> tuple[list[LabelledImage], list[str]]:
    """Pictures (name, file) without objects, and what is wrong with the others, which is raised unless `skip`."""
    clean, faults = [], []
    for name, file in tracked(files, "Clean pictures"):
        try:
            check_end(file)
            clean.append(LabelledImage(name, *image_size(file), [], None, file))
        except UserError as error:
            if not skip:
                raise
            faults.append(str(error))
    return clean, faults


def named_by_file(labels: LabelSet, folder: str | None) -> tuple[LabelSet, str]:
    """The labels with pictures named by their paths, in order of these, and the folder that the paths are relative to.

    folder: that of all pictures; None: the deepest that holds them.

    Raises: UserError where two entries are of one file.
    """
    files = [os.path.abspath(image.file or image.name) for image in labels.images]
    root = os.path.abspath(folder) if folder is not None else os.path.commonpath([os.path.dirname(file) for file in files])
    of_file: dict[str, str] = {}
    images = []
    for file, image in zip(files, labels.images):
        if file in of_file:
            raise UserError(
                f"{file} is the picture of two entries of the labels, {of_file[file]} and {image.name}. Name it once."
            )
        of_file[file] = image.name
        images.append(replace(image, name=os.path.relpath(file, root).replace(os.sep, "/")))
    return replace(labels, images=sorted(images, key=lambda image: image.name)), root


def tracked(items: Sequence[Item], title: str) -> Iterable[Item]:
    """The items, with progress shown where there are so many that it takes a while."""
    return track(items, len(items), title) if len(items) >= _MANY else items


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_NAMED]) + (", …" if len(texts) > _NAMED else "")
