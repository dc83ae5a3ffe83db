"""A competition's CSV of run-length-encoded masks, from a template of `configs/submissions`."""

from __future__ import annotations

from pathlib import Path

from ppdet_ext.data.formats.table import NamedDetections, check_table, write_table
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections

from ..collector import tracked
from ..label_set import LabelledImage, LabelSet
from .common import DEFAULTS, WriteOptions, Written


def write(labels: LabelSet, out: Path, options: WriteOptions = DEFAULTS) -> Written:
    """Write `<template>.csv`, and read it back and compare every mask before it gets its name.

    What has no score counts as certain (1).

    Raises: UserError without a template, for names that it cannot hold, or where it cannot be written; RuntimeError where it
        does not read back, which would be our fault.
    """
    form = options.form
    if form is None:
        raise UserError("A Kaggle table needs a template, such as kaggle:severstal_stage2.")
    form.check_names(image.name for image in labels.images)
    done, ids = Written(options), options.ids_of(labels)
    named = [_named(image, labels.class_names, done) for image in tracked(labels.images, "Kaggle")]
    path = out / f"{Path(form.source).stem}.csv"

    def fill(aside: Path) -> None:
        summary = write_table(aside, form, named, ids, labels.class_names)
        check_table(aside, form, named, ids, labels.class_names)
        done.lost["objects wholly covered by others, or too small for the masks' size"] += summary.lost
        done.objects -= summary.lost

    done.write(path, fill)
    return done


def _named(image: LabelledImage, class_names: list[str], done: Written) -> NamedDetections:
    own = done.kept(image)
    labels = [class_names.index(one.class_name) for one in own]
    scores = [1.0 if one.score is None else one.score for one in own]
    return image.name, Detections.of_masks(image.height, image.width, [one.mask for one in own], labels, scores)
