"""The folder of an exported model: what `inference.yml` says, and whether the files are those that were exported."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ppdet_ext.data.transforms import NormalizeToCHW, ReadImage, ResizeFixed, ResizeShortEdge
from ppdet_ext.errors import UserError, counted, nearest
from ppdet_ext.files.atomic import digest
from ppdet_ext.registry import build_entries

DESCRIPTION = "inference.yml"
VERSION = 1
_MOST_BYTES = 16 << 20
_RUN_FILE, _BEST = "config.yml", "best_model"
_KEYS = {
    "input": dict, "sizes": dict, "outputs": list, "classes": list, "category_ids": list, "transforms": list, "settings": dict,
    "postprocess": list, "files": dict, "format": str, "precision": str, "architecture": str,
}  # fmt: skip


@dataclass(frozen=True)
class ExportedModel:
    """What is said of an exported model.

    Attributes:
        folder: where it lies.
        format: "onnx", "openvino" or "paddle".
        precision: "fp32", "fp16", "bf16" or "int8".
        architecture: of the model that was exported.
        input: name of the graph's input, pixels (B, H, W, 3) uint8 RGB.
        batch: images that it takes at a time; None for any number.
        sizes: ((least, most) height, (least, most) width) px of the pixels it takes.
        outputs: names of what it gives.
        classes, category_ids: by label.
        read: how files become pixels, the first transform of the reader.
        resizes: those before the graph.
        score_threshold: of maps; objects and their scores come from the graph.
        mask_threshold: probability from which a pixel belongs to a mask that no step cuts.
        postprocess: entries of `PostProcess`.
    """

    folder: Path
    format: str
    precision: str
    architecture: str
    input: str
    batch: int | None
    sizes: tuple[tuple[int, int], tuple[int, int]]
    outputs: tuple[str, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    read: ReadImage
    resizes: tuple[Any, ...]
    score_threshold: float
    mask_threshold: float
    postprocess: list[Mapping[str, Any]]

    @classmethod
    def load(cls, folder: Path) -> "ExportedModel":
        """Read and check the folder. Raises: UserError for what is no exported model, is damaged, or of a newer version."""
        told = _described(folder)
        _check_files(folder, told["files"])
        file = folder / DESCRIPTION
        try:
            read, resizes = _transforms(told["transforms"], file)
            return cls(
                folder=folder,
                **{key: told[key] for key in ("format", "precision", "architecture", "postprocess")},
                input=str(told["input"]["name"]),
                batch=told["input"]["shape"][0],
                sizes=(_range(told["sizes"]["height"]), _range(told["sizes"]["width"])),
                outputs=tuple(told["outputs"]),
                classes=tuple(map(str, told["classes"])),
                category_ids=tuple(map(int, told["category_ids"])),
                read=read,
                resizes=resizes,
                score_threshold=float(told["settings"].get("score_threshold", 0)),
                mask_threshold=float(told["settings"].get("mask_threshold", 0.5)),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise _damaged(file, f"{type(error).__name__}: {error}") from error

    def check_size(self, height: int, width: int, name: str) -> None:
        """UserError for pixels of a size that the model was not exported for."""
        for side, (least, most), word in zip((height, width), self.sizes, ("height", "width")):
            if not least <= side <= most:
                allowed = f"{least} px" if least == most else f"{least} to {most} px"
                raise UserError(
                    f"{name}: {height}x{width} px (height x width) where the model sees it; it was exported for a {word} of "
                    f"{allowed}. Resize the picture, or export with another --size."
                )


def _range(sides: Any) -> tuple[int, int]:
    least, most = sides
    return int(least), int(most)


def _described(folder: Path) -> dict[str, Any]:
    """The content of the description, its keys checked."""
    file = folder / DESCRIPTION
    if not file.is_file():
        raise UserError(_no_description(folder))
    if file.stat().st_size > _MOST_BYTES:
        raise UserError(f"{file} is no description of an exported model: it has {file.stat().st_size} bytes.")
    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise _damaged(file, str(error).replace("\n", " ")) from error
    if not isinstance(told, dict) or "version" not in told:
        raise _damaged(file, "it has no version")
    if told["version"] != VERSION:
        raise UserError(
            f"{file} is of version {told['version']}; this package reads version {VERSION}. Export the model anew, or install "
            "the ppdet-ext that exported it."
        )
    for key, kind in _KEYS.items():
        if not isinstance(told.get(key), kind):
            raise _damaged(file, f"{key} is {told.get(key)!r}")
    if len(told["classes"]) != len(told["category_ids"]):
        raise _damaged(file, f"it has {counted(len(told['classes']), 'classes')} and {len(told['category_ids'])} category_ids")
    return told


def _no_description(folder: Path) -> str:
    if (folder / _RUN_FILE).is_file():
        return (
            f"{folder} is the folder of a run. ppdet_ext.Predictor uses it where Paddle is installed "
            f'(pip install ".[train]" in the checkout); for the runtime export it: '
            f"python tools/export.py -c {folder / _RUN_FILE}{_best_weights(folder)}."
        )
    if folder.is_file() and (folder.parent / DESCRIPTION).is_file():
        return f"{folder} is a file; give its folder, {folder.parent}, which has {DESCRIPTION}."
    if not folder.is_dir():
        names = [str(path.parent) for path in folder.parent.glob(f"*/{DESCRIPTION}")] if folder.parent.is_dir() else []
        return f"There is no exported model in {folder}.{nearest(folder, names)}"
    if not any(folder.iterdir()):
        return f"{folder} is empty; an exported model has {DESCRIPTION}, which tools/export.py writes."
    within = sorted(path.parent.name for path in folder.glob(f"*/{DESCRIPTION}"))
    hint = f" There are exported models in it: {', '.join(within[:3])}{', …' if len(within) > 3 else ''}." if within else ""
    return f"{folder} is no exported model: it has no {DESCRIPTION}, which tools/export.py writes.{hint}"


def _best_weights(folder: Path) -> str:
    """The flag by which a run is exported as `Predictor` takes it, with its best weights; "" without such."""
    best = folder / _BEST
    return f" -o weights={best}" if best.with_suffix(".pdparams").is_file() else ""


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"{file} is damaged: {why}. Export the model anew.")


def _check_files(folder: Path, files: Mapping[str, Any]) -> None:
    """UserError for a file that is missing, or another one than was exported."""
    if not files:
        raise _damaged(folder / DESCRIPTION, "it names no files")
    for name, facts in files.items():
        file = folder / Path(str(name)).name
        if not file.is_file():
            raise UserError(f"{file} is missing; {DESCRIPTION} names it. Copy the whole folder, or export the model anew.")
        expected = facts.get("sha256") if isinstance(facts, dict) else None
        if digest(file) != expected:
            raise UserError(f"{file} is damaged or of another model: its SHA-256 is not that of {DESCRIPTION}. Copy it again.")


def _transforms(entries: list[Mapping[str, Any]], file: Path) -> tuple[ReadImage, tuple[Any, ...]]:
    """What reads a picture, and what resizes it before the graph."""
    known = {one.__name__ for one in (ReadImage, ResizeFixed, ResizeShortEdge, NormalizeToCHW)}
    names = [next(iter(entry), None) if isinstance(entry, Mapping) else entry for entry in entries]
    if names[:1] != ["ReadImage"] or names[-1:] != ["NormalizeToCHW"] or not known.issuperset(map(str, names)):
        raise _damaged(file, f"transforms are {', '.join(map(str, names))}")
    try:
        first, *resizes, _ = build_entries(entries, "transform", "transforms")
    except UserError as error:
        raise _damaged(file, str(error).rstrip(".")) from error
    return first, tuple(resizes)
