"""The command behind tools/new_config.py: a configuration for a data set that is COCO JSON, or a CSV of masks."""

import argparse
import contextlib
import inspect
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ppdet_ext.register  # noqa: F401  what configurations may name
from ppdet_ext.config.parse import parse
from ppdet_ext.data.formats.column_guess import as_options
from ppdet_ext.data.formats.csv_rows import first_rows
from ppdet_ext.data.formats.rle_presets import UnknownColumns
from ppdet_ext.data.images.check import IMAGE_SUFFIXES
from ppdet_ext.errors import UserError, nearest, path_of
from ppdet_ext.host.registry import DATASETS
from ppdet_ext.starter.write import DataSection, DataSections

from .data_flags import demand_holdout
from .held_out import held_out
from .written_config import command_line, demand_free, path_from, write_config

COCO, CSV, FASHION = "CocoJsonDataSet", "RleCsvDataSet", "FashionDataSet"
# Where pictures usually lie beside annotations, and those to predict.
FOLDERS = ("images", "train_images", "train", "train2017", "JPEGImages", "")
TEST_FOLDERS = ("test_images", "test")
LABELS = "label_descriptions.json"
_HEADERS = """--data 'columns={HEADER: "{name}", OTHER: "{rle}"}' 'class_names=[NAME]'"""
_ASKED = 20  # pictures that are looked for
_LONGEST_NAME = 255  # of a file


def new_config(
    annotations: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    val_annotations: str | os.PathLike[str] | None = None,
    val_images: str | os.PathLike[str] | None = None,
    test_images: str | os.PathLike[str] | None = None,
    val: int | float = 0.2,
    data: Mapping[str, Any] | None = None,
    config: str | os.PathLike[str] | None = None,
    model: str = "htc",
    overwrite: bool = False,
) -> Path:
    """Write a configuration for annotations in COCO's JSON or a CSV of run-length-encoded masks; returns its path.

    Args:
        annotations, images: file and folder of the training; the folder is looked for beside the file.
        val_annotations, val_images: those of the validation; without, `val` of the images are held out, by class: a number or
            a share of all; 0: none, and evaluation is on those that are learnt.
        test_images: folder of pictures to predict; otherwise those of the validation.
        data: further arguments of the data set.
        config: the file; configs/<name of the data set's folder>.yml by default.
        model: one of `MODEL_NAMES`.
        overwrite: replace a file that is there.

    Raises: UserError for what the user can mend.
    """
    demand_holdout(val)
    annotations = path_of(annotations, "annotations")
    others = (images, val_annotations, val_images, test_images)
    images, val_annotations, val_images, test_images = (None if one is None else path_of(one, "folder") for one in others)
    tag = _kind_of(annotations)
    folder = os.path.dirname(annotations) or "."
    train: dict[str, Any] = {"dataset_dir": folder, "anno_path": os.path.basename(annotations), **(data or {})}
    unread = _checked(tag, train)
    if tag == CSV and not {"columns", "preset"} & set(train):
        train["preset"] = _competition(unread)
    pictures = _folder_of(tag, annotations, images)
    train.setdefault("image_dir", path_from(pictures, folder))
    path = Path(config or Path("configs") / f"{_name_of(folder)}.yml")
    demand_free(path, "--config", overwrite)
    if val_annotations is None:
        own_keys, other_keys = held_out(_checked(tag, train), val, path, overwrite)
        evaluation = {**train, **other_keys}
        train |= own_keys
    else:
        own = _folder_of(tag, val_annotations, val_images or images, pictures)
        evaluation = {**train, "anno_path": path_from(val_annotations, folder), "image_dir": path_from(own, folder)}
    sections = DataSections(
        DataSection(tag, train), DataSection(tag, evaluation), _test_section(tag, train, evaluation, folder, test_images)
    )
    return write_config(path, sections, model=model, made_of=annotations, overwrite=overwrite)


def _checked(tag: str, arguments: Mapping[str, Any]) -> Any:
    """The data set, unread. Raises: UserError for an argument that its class does not have."""
    known = list(inspect.signature(DATASETS[tag]).parameters)
    for name in arguments:
        if name not in known:
            raise UserError(f"--data {name}: !{tag} has no such argument.{nearest(name, known)}")
    return DATASETS[tag](**arguments)


def _competition(dataset: Any) -> str:
    """Name of the preset that the CSV's header tells. Raises: UserError that says how to describe another CSV."""
    try:
        _ = dataset.described
    except UnknownColumns as error:
        remedy = "Say which holds the picture's name and which the run lengths: " + _HEADERS
        if error.told:
            remedy = "By their names and cells perhaps: --data " + " ".join(map(shlex.quote, as_options(error.told)))
        raise UserError(f"{error.what} {remedy}") from error
    return str(dataset.competition)


def _kind_of(path: str) -> str:
    """The data set class for a file, by its first character. Raises: UserError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({fault.strerror}).") from None
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"<", b"["):
        kind = "XML" if text[:1] == b"<" else "a JSON list"
        raise UserError(f"{path}: {kind}, neither COCO JSON nor a CSV. {_imported(path)}")
    # Lines of JSON, an image each, are a dialect of the CSVs; COCO's file is one object, and has no id.
    if text[:1] == b"{" and not re.match(rb'\{\s*"id"\s*:', text):
        return COCO
    labelled = os.path.isfile(os.path.join(os.path.dirname(path), LABELS))
    return FASHION if labelled and b"ClassId" in start.split(b"\n")[0] else CSV


def _folder_of(tag: str, annotations: str, given: str | None, other: str | None = None) -> str:
    """The folder of the pictures: the one given, or found beside the annotations or one folder up; else `other`.

    Raises: UserError where there is none.
    """
    if given is not None:
        if not os.path.isdir(given):
            raise UserError(f"{given}: no such folder of pictures.")
        return given
    own, stem = os.path.dirname(annotations) or ".", Path(annotations).stem.removeprefix("instances_")
    names = _named_in(tag, annotations)
    beside = sorted(entry.name for entry in os.scandir(own) if entry.is_dir() and not entry.name.startswith("."))
    places = [os.path.normpath(os.path.join(own, *name)) for name in
              [*((one,) for one in (stem, *FOLDERS, *beside)), *(("..", one) for one in (stem, *FOLDERS))]]  # fmt: skip
    for place in filter(os.path.isdir, places):
        if any(os.path.isfile(os.path.join(place, name)) for name in names):
            return place
    # Names that a pattern makes of paths.
    nested = next(
        (place for place in places if tag != COCO and os.path.basename(place) == "train" and os.path.isdir(place)), None
    )
    if nested is None and other is None:
        raise UserError(f"{annotations}: no folder of its pictures beside it; say where they are: --images DIR.")
    return nested or str(other)


def _named_in(tag: str, annotations: str) -> list[str]:
    """File names of some pictures that the annotations name; of a CSV also such as they may stand for."""
    if tag == COCO:
        content: Any = {}
        # What else is wrong with it is said when it is read.
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(Path(annotations).read_bytes())
        if content and "images" not in content:
            raise UserError(f"{annotations}: no COCO JSON, it has no images. {_imported(annotations)}")
        with contextlib.suppress(TypeError, KeyError):
            return [str(image["file_name"]) for image in content["images"][:_ASKED]]
        return []
    cells = [cell for row in first_rows(annotations, _ASKED)[1] for cell in row if len(cell) <= _LONGEST_NAME]
    stems = [name for cell in cells for name in (cell, cell.rpartition("_")[0]) if name]
    return [name + suffix for name in stems for suffix in ("", *IMAGE_SUFFIXES)]


def _imported(path: str) -> str:
    command = f"{command_line('import_labels')} {shlex.quote(path)} --out dataset/mine"
    return f"What a label tool has exported becomes one, with a configuration: {command}"


def _name_of(folder: str) -> str:
    """The data set's name: of its folder, or of that above it if it only says what lies there."""
    path = Path(folder).resolve()
    return next((one.name for one in (path, *path.parents) if one.name not in ("", "annotations", "labels")), "mine")


def _test_section(
    tag: str, train: Mapping[str, Any], evaluation: Mapping[str, Any], folder: str, images: str | None
) -> DataSection:
    """Pictures to predict: those of `images`, or of a folder test beside a CSV; else the validation's."""
    if images is None and tag != COCO:
        images = next((found for name in TEST_FOLDERS if os.path.isdir(found := os.path.join(folder, name))), None)
    if images is None:
        return DataSection(tag, evaluation)
    if not os.path.isdir(images):
        raise UserError(f"--test_images {images}: no such folder.")
    if tag == COCO:
        return DataSection("ImageFolder", {"images": images})
    without = {key: value for key, value in train.items() if key not in ("fold", "num_folds", "part", "split")}
    return DataSection(tag, {**without, "anno_path": None, "image_dir": path_from(images, folder)})


def arguments_of(texts: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE texts, the values in YAML. Raises: UserError for a text without =."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"--data {text}: expected KEY=VALUE, as preset=airbus.")
        found[key] = parse(value, f"--data {text}")[0]
    return found


def run(args: argparse.Namespace) -> Path:
    """`new_config` with the flags of `new_config_parser`."""
    return new_config(
        args.annotations,
        images=args.images,
        val_annotations=args.val_annotations,
        val_images=args.val_images,
        test_images=args.test_images,
        val=args.val,
        data=arguments_of(args.data),
        config=args.new_config,
        model=args.model,
        overwrite=args.overwrite,
    )
