"""The command behind tools/export_labels.py: data sets, predictions and label tools' files into files of label tools.

For files of label tools paddle is not imported.
"""

from __future__ import annotations

import argparse
import filecmp
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppdet_ext.data.labels.collector import tracked
from ppdet_ext.data.labels.convert import BOXES, labels_of_detections, labels_of_records
from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet
from ppdet_ext.data.labels.pictures import Pictures
from ppdet_ext.data.labels.writers import WRITERS, WriteOptions, Written
from ppdet_ext.errors import UserError, counted, nearest
from ppdet_ext.files.atomic import demand_writable

if TYPE_CHECKING:
    from ppdet_ext.host import Config

KAGGLE, DATASETS = "kaggle", ("TrainDataset", "EvalDataset", "TestDataset")
logger = logging.getLogger("ppdet_ext")


def export_labels(
    labels: LabelSet | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    to: str,
    out: str | os.PathLike[str],
    *,
    options: WriteOptions | None = None,
    images: str | os.PathLike[str] | None = None,
    min_score: float = 0.0,
    copy_images: bool = False,
    overwrite: bool = False,
) -> Written:
    """Write labels as the files of a label tool, and log what is in them and what the format cannot hold.

    Args:
        labels: from `read_labels`, `labels_of_dataset` or `labels_of_results`; or what `read_labels` is to read.
        to: name in `WRITERS`.
        out: folder for the files.
        options: of the writer.
        images: folder of the pictures; needed where the labels do not tell a picture's size, or its file is to be copied.
        min_score: lowest score of objects that have one.
        copy_images: copy the pictures to where the tool looks for them.
        overwrite: replace files that are there; it holds in place of what `options` say.

    Raises: UserError for what the user can mend.
    """
    if to not in WRITERS:
        raise UserError(f"--to: no format is called {to!r}.{nearest(to, WRITERS)} There are {', '.join(WRITERS)}.")
    if not isinstance(min_score, Real) or not 0 <= min_score <= 1:
        raise UserError(f"--min_score is {min_score!r}; scores are numbers from 0 to 1.")
    options = replace(options or WriteOptions(), overwrite=overwrite)
    if not isinstance(labels, LabelSet):
        labels = _read(labels, images)
    folder, pictures = Path(out), None if images is None else Pictures(os.fspath(images))
    demand_writable(folder / "any", "--out")
    for reason, number in labels.skipped.items():
        logger.warning("Left out: %s", counted(number, reason))
    labels = _with_sizes(_of_score(labels, min_score), pictures)
    if not labels.images:
        raise UserError("No image is left to export.")
    # Before anything is written, as all of them must be there.
    files = _picture_files(labels, pictures) if copy_images else {}
    done = WRITERS[to](labels, folder, options)
    done.log(folder)
    if copy_images:
        _copy_images(files, folder, done)
    return done


def labels_of_dataset(cfg: Config, key: str) -> tuple[LabelSet, list[int]]:
    """The annotations of a configuration's data set, and its category ids. Raises: UserError where it has none."""
    from ppdet_ext.data.loading.build import load_dataset

    if key not in DATASETS:
        raise UserError(f"--dataset: there is no {key!r}.{nearest(key, DATASETS)} There are {', '.join(DATASETS)}.")
    dataset: Any = load_dataset(cfg, key)
    if not dataset.annotated:
        raise UserError(
            f"{key} has no annotations to export. For a model's predictions: infer.py --save_results, then --results."
        )
    return labels_of_records(dataset.records, [str(name) for name in dataset.class_names]), list(dataset.category_ids)


def labels_of_results(cfg: Config, folder: str | Path) -> tuple[LabelSet, list[int]]:
    """What `infer --save_results` has saved in a folder, and the category ids. Raises: UserError where it is not whole."""
    from ppdet_ext.data.formats.coco_results import images_of_results
    from ppdet_ext.data.formats.result_files import MASK_FILE
    from ppdet_ext.inference.classes import class_list
    from ppdet_ext.submission.saved import saved_ids, saved_names

    class_names, class_ids, _ = class_list(cfg)
    ids = saved_ids(Path(folder), class_names, class_ids)
    found = images_of_results(Path(folder) / MASK_FILE, saved_names(Path(folder)), ids, 0.0)
    return labels_of_detections(found, class_names), class_ids


def _read(files: Any, images: str | os.PathLike[str] | None, format: str = "auto") -> LabelSet:
    """`read_labels`, whose notes and warnings are logged."""
    labels = read_labels(files, images, format)
    for note in labels.notes:
        logger.info("%s", note)
    for warning in labels.warnings:
        logger.warning("%s", warning)
    return labels


def _of_score(labels: LabelSet, lowest: float) -> LabelSet:
    images = [
        replace(image, objects=[own for own in image.objects if own.score is None or own.score >= lowest])
        for image in labels.images
    ]
    return replace(labels, images=images)


def _with_sizes(labels: LabelSet, pictures: Pictures | None) -> LabelSet:
    """The images, whose sizes are those of the pictures where the labels do not tell: results of images with nothing."""
    unknown = [image for image in labels.images if not image.height]
    if not unknown:
        return labels
    if pictures is None:
        text = "%s without an object: left out, for results do not tell their sizes; with --images DIR they are exported too"
        logger.warning(text, counted(len(unknown), "images"))
        return replace(labels, images=[image for image in labels.images if image.height])
    images = []
    for image in labels.images:
        height, width = (image.height, image.width) if image.height else pictures.size(image.name)
        images.append(replace(image, height=height, width=width))
    return replace(labels, images=images)


def _picture_files(labels: LabelSet, pictures: Pictures | None) -> dict[str, str]:
    """The picture of each image. Raises: UserError that counts and names those that are not to be found."""
    found = {image.name: image.file or (pictures and pictures.find(image.name)) for image in labels.images}
    missing = [name for name, file in found.items() if not file]
    if missing:
        named = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        where = "beside the labels" if pictures is None else f"in {pictures.folder}"
        raise UserError(
            f"--copy_images: {counted(len(missing), 'pictures')} of {len(found)} not found {where}: {named}. Say where they "
            "are: --images DIR. Nothing was written."
        )
    return {name: file for name, file in found.items() if file}


def _copy_images(files: Mapping[str, str], out: Path, done: Written) -> None:
    """Copy the pictures to where the tool looks for them, else to `images/`. files: by the images' names."""
    for name, file in tracked(list(files.items()), "Copying pictures"):
        target = done.pictures.get(name, out / "images" / name)
        # Beside the pictures themselves, or where an earlier export has put them, there is nothing to do.
        if not (target.exists() and filecmp.cmp(file, target, shallow=False)):
            done.write(target, partial(shutil.copyfile, file))
    logger.info("Copied %s to %s", counted(len(files), "pictures"), out)


def _source(args: argparse.Namespace) -> tuple[LabelSet, list[int] | None, Config | None]:
    """(labels, ids of their classes or None, the configuration or None) that the flags name."""
    if args.labels:
        return _read(args.labels, args.images, args.format), None, None
    if not hasattr(args, "config"):
        raise UserError("What is to be exported? Give -c CONFIG (its --dataset), -c CONFIG --results DIR, or --labels FILES.")
    from .cli import config_of

    cfg = config_of(args)
    labels, ids = labels_of_results(cfg, args.results) if args.results else labels_of_dataset(cfg, args.dataset)
    return labels, ids, cfg


def _options(args: argparse.Namespace, form: str, ids: Sequence[int] | None, cfg: Config | None) -> WriteOptions:
    options = WriteOptions(class_ids=ids, model_version=args.model_version)
    if args.image_prefix is not None:
        options = replace(options, image_prefix=args.image_prefix)
    if args.to.partition(":")[0] != KAGGLE:
        return options
    from .submit import DEFAULT_FORMAT, find_format, usual_format

    return replace(options, form=find_format(form or (DEFAULT_FORMAT if cfg is None else usual_format(cfg))))


def run(args: argparse.Namespace) -> None:
    """`export_labels` with the flags of `export_labels_parser`."""
    to, _, form = args.to.partition(":")
    if args.labels and (args.results or hasattr(args, "config")):
        raise UserError("--labels are files of a label tool, without -c and --results.")
    labels, ids, cfg = _source(args)
    if BOXES in labels.skipped and not any(image.objects for image in labels.images):
        raise UserError(f"There are {BOXES} alone, and label tools' files are of masks.")
    options = _options(args, form, ids, cfg)
    flags = {"images": args.images, "min_score": args.min_score, "copy_images": args.copy_images}
    flags["overwrite"] = args.overwrite
    export_labels(labels, to, args.out, options=options, **flags)
