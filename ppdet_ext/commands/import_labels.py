"""The command behind tools/import_labels.py: what a label tool exported becomes a data set and a configuration."""

import argparse
import filecmp
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ppdet_ext.data.labels.detect import folder_of
from ppdet_ext.data.labels.formats import FORMATS, read_labels
from ppdet_ext.data.labels.label_set import LabelledImage, LabelSet
from ppdet_ext.data.labels.pictures import Pictures
from ppdet_ext.data.labels.writers.coco import coco_tree
from ppdet_ext.errors import UserError, counted, path_of, paths_of
from ppdet_ext.files.atomic import demand_writable, no_empty_folders, replacing, write_atomic
from ppdet_ext.registry import one_of
from ppdet_ext.starter.deal import SIDES, TEST, TRAIN, VAL, deal, table
from ppdet_ext.starter.gather import (
    like_classes,
    named_by_file,
    tracked,
    with_classes_renamed,
    with_pictures,
    with_unlabelled,
)
from ppdet_ext.starter.models import model_named
from ppdet_ext.starter.write import DataSection, DataSections

from .data_flags import ON_ERROR, UNLABELLED, demand_holdout

ALL = "all"
PLACES = ("stay", "copy", "link")
ANNOTATIONS, IMAGES = "annotations", "images"
DATASET = "CocoJsonDataSet"
logger = logging.getLogger("ppdet_ext")


def import_labels(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    format: str = "auto",
    val: int | float = 0.2,
    as_told: bool = True,
    duplicates: bool = True,
    seed: int = 0,
    place: str = "stay",
    unlabelled: str = "leave_out",
    on_error: str = "error",
    rename: Mapping[str, str] | None = None,
    config: str | os.PathLike[str] | None = None,
    model: str = "htc",
    overwrite: bool = False,
) -> Path:
    """Write `annotations/{all,train,val}.json` and a configuration that trains on them; returns the configuration's path.

    Args:
        files: of one label tool, or folders of them; one, or a list.
        out: folder of the data set.
        images: folder of the pictures; None: beside the labels.
        format: key of `FORMATS`, or "auto".
        val, as_told, duplicates, seed: see `deal`.
        place: "stay", "copy" or "link": where the pictures are afterwards.
        unlabelled: "leave_out" or "keep" pictures that the labels do not name.
        on_error: "error" or "skip" for labels whose picture is missing or of another size.
        rename: former name of a class -> new one.
        config: the configuration; configs/<name of `out`>.yml by default.
        model: one of `MODEL_NAMES`.
        overwrite: replace what is there.

    Raises: UserError for what the user can mend.
    """
    files, images = paths_of(files, "files"), None if images is None else path_of(images, "images")
    folder = Path(out)
    path = Path(config or Path("configs") / f"{folder.resolve().name}.yml")
    _check(model, place, unlabelled, on_error, val)
    with no_empty_folders(folder / ANNOTATIONS / "any", path):
        _demand_room(folder, path, files, overwrite)
        labels = with_classes_renamed(read_labels(files, images, format, on_error), rename or {})
        labels, root = _with_files(labels, files, images, on_error == "skip", unlabelled == "keep")
        sides = deal(labels.images, labels.class_names, val, duplicates, as_told, seed)
        _tell(labels, sides)
        if place != "stay":
            _place(labels.images, folder / IMAGES, place, overwrite)
        made_of = _made_of(files, labels.format)
        _write(labels, sides, folder / ANNOTATIONS, made_of)
        # It imports paddle, and whoever has a fault in the labels hears of it before.
        from .written_config import path_from, write_config

        image_dir = IMAGES if place != "stay" else path_from(root, str(folder))
        sections = _sections(str(folder), image_dir, sides)
        return write_config(path, sections, model=model, made_of=made_of, overwrite=overwrite)


def _with_files(labels: LabelSet, files: Sequence[str], images: str | None, skip: bool, keep: bool) -> tuple[LabelSet, str]:
    """The labels with their pictures, named by paths, and the folder that these are relative to. skip, keep: see `gather`."""
    pictures = Pictures(*folder_of(files)) if images is None else Pictures(images)
    labels = with_unlabelled(with_pictures(labels, pictures, skip), pictures, keep, images is not None, skip)
    return named_by_file(labels, images)


def _check(model: str, place: str, unlabelled: str, on_error: str, val: object) -> None:
    """UserError for a value that is not among those there are."""
    model_named(model, gpu=False)
    words = (("place", place, PLACES), ("unlabelled", unlabelled, UNLABELLED), ("on_error", on_error, ON_ERROR))
    for setting, value, allowed in words:
        one_of(value, allowed, setting)
    demand_holdout(val)


def _demand_room(folder: Path, config: Path, files: Sequence[str], overwrite: bool) -> None:
    """UserError where what is to be written is there, or cannot be written; before any label is read."""
    targets = [*(folder / ANNOTATIONS / f"{side}.json" for side in (ALL, *SIDES)), config]
    there = [str(path) for path in targets if path.exists()]
    sources = [Path(file).resolve() for file in files]
    if own := [path for path in there if any(Path(path).resolve().is_relative_to(source) for source in sources)]:
        raise UserError(f"{own[0]} is among the labels to import, and would be written over. Give another --out.")
    if there and not overwrite:
        raise UserError(
            f"{', '.join(there)}: there already. Give another --out and --config, or --overwrite to replace what an earlier "
            "import has written."
        )
    demand_writable(targets[0], "--out")
    demand_writable(config, "--config")


def _tell(labels: LabelSet, sides: Sequence[str]) -> None:
    title = FORMATS[labels.format].title if labels.format in FORMATS else labels.format
    logger.info("%s, %s:\n%s", title, counted(len(labels.images), "pictures"),
                table(labels.images, labels.class_names, sides, labels.skipped))  # fmt: skip
    for note in labels.notes:
        logger.info("Note: %s", note)
    for warning in labels.warnings:
        logger.warning("%s", warning)
    _warn_of_classes(labels, sides)


def _warn_of_classes(labels: LabelSet, sides: Sequence[str]) -> None:
    """Say which classes may be one, are never shown, or not on both sides."""
    for group in like_classes(labels.class_names):
        joined = f"{group[1]}={group[0]}"
        logger.warning("%s: one class under several spellings? Join them: --rename '%s'", " and ".join(group), joined)
    shown: dict[str, set[str]] = {side: set() for side in SIDES}
    for image, side in zip(labels.images, sides):
        shown[side].update(one.class_name for one in image.objects if not one.crowd)
    found = shown[TRAIN] | shown[VAL] | shown[TEST]
    if absent := [name for name in labels.class_names if name not in found]:
        logger.warning("%d of %d classes without an object: %s", len(absent), len(labels.class_names), ", ".join(absent))
    if unlearnt := [name for name in labels.class_names if name in found - shown[TRAIN]]:
        logger.warning("Of these classes training shows no object, so that they cannot be learnt: %s", ", ".join(unlearnt))
    if VAL in sides and (unmeasured := [name for name in labels.class_names if name in found - shown[VAL]]):
        remedy = "hold out more (--val), or label more pictures that show them"
        told = "Of these classes validation shows no object, so that they are not measured; %s: %s"
        logger.warning(told, remedy, ", ".join(unmeasured))


def _made_of(files: Sequence[str], format: str) -> str:
    names = [os.path.basename(os.path.normpath(file)) for file in files]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{shown} ({FORMATS[format].title if format in FORMATS else format})"


def _place(images: Sequence[LabelledImage], folder: Path, how: str, overwrite: bool) -> None:
    """Copy the pictures below `folder`, or link to them; a file that is there with the same content stays.

    Raises: UserError for one with another content, unless `overwrite`, and where nothing can be written.
    """
    for image in tracked(images, "Copying" if how == "copy" else "Linking"):
        source, target = Path(image.file or "").resolve(), folder / image.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_symlink():
                target.unlink()
            elif target.exists():
                # Also the picture itself, if it lies there already.
                if filecmp.cmp(source, target, shallow=False):
                    continue
                if not overwrite:
                    raise UserError(f"{target} is another picture than {source}. Give another --out, or --overwrite.")
            with replacing(target, durable=False) as aside:
                aside.symlink_to(source) if how == "link" else shutil.copyfile(source, aside)
        except OSError as fault:
            raise UserError(f"{target}: the picture cannot be put there ({fault.strerror}). Choose another --out.") from None


def _write(labels: LabelSet, sides: Sequence[str], folder: Path, made_of: str) -> None:
    """A COCO JSON of all pictures and one of each side; those of sides that are not there any more are removed."""
    ids = range(1, len(labels.class_names) + 1)
    for side in (*SIDES, ALL):
        chosen = [image for image, own in zip(labels.images, sides) if side in (own, ALL)]
        path = folder / f"{side}.json"
        if not chosen:
            path.unlink(missing_ok=True)
            continue
        tree = coco_tree(chosen, labels.class_names, ids, f"made by import_labels of {made_of}")
        text = json.dumps(tree, ensure_ascii=False)
        if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
            # Names of files that are no text.
            text = json.dumps(tree)
        write_atomic(path, partial(Path.write_text, data=text, encoding="utf-8"), "--out")
    logger.info("Wrote %s", folder)


def _sections(folder: str, image_dir: str, sides: Sequence[str]) -> DataSections:
    def section(*preferred: str) -> DataSection:
        side = next(side for side in (*preferred, TRAIN) if side in sides)
        anno_path = f"{ANNOTATIONS}/{side}.json"
        arguments: dict[str, Any] = {"dataset_dir": folder, "anno_path": anno_path, "image_dir": image_dir}
        return DataSection(DATASET, arguments)

    return DataSections(section(TRAIN), section(VAL), section(TEST, VAL))


def renamed(texts: Sequence[str]) -> dict[str, str]:
    """OLD=NEW texts. Raises: UserError for one without = or a blank name."""
    found = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old or not new.strip():
            raise UserError(f"--rename {text}: expected OLD=NEW, the names of a class.")
        found[old] = new
    return found


def run(args: argparse.Namespace) -> Path:
    """`import_labels` with the flags of `import_labels_parser`."""
    return import_labels(
        args.files,
        out=args.out,
        images=args.images,
        format=args.format,
        val=args.val,
        as_told=not args.split_anew,
        duplicates=args.duplicates,
        seed=args.seed,
        place=args.place,
        unlabelled=args.unlabelled,
        on_error=args.on_error,
        rename=renamed(args.rename),
        config=args.new_config,
        model=args.model,
        overwrite=args.overwrite,
    )
