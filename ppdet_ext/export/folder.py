"""The folder of an exported model: `inference.yml` says all that is needed to use it, README.md how."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import digest
from ppdet_ext.files.lock import locked

DESCRIPTION, README = "inference.yml", "README.md"
VERSION = 1
# Sides of pictures that a model of any size is meant for, px, after resizing.
SMALLEST, LARGEST = 32, 4096

_README = """# {architecture}, exported for {engine}

Input `pixels`: ({batch}, height, width, 3) uint8, RGB, height {heights}, width {widths}; the pictures
of a batch are of one size. They are resized as `transforms` of {description} says, with OpenCV; normalisation and padding are
in the model{views}.

Outputs:

{outputs}

Classes by label: {classes}.

{description} also has the thresholds, the steps of post-processing and the SHA-256 of each file.
"""
_PREDICT = """
## Predict

In this folder, with ppdet_ext alone (in its checkout: `pip install ".[{extra}]"`; no Paddle):

    python -m ppdet_ext.runtime predict . --images PICTURES --output found

writes each picture with what was found, COCO results and a table. In a program:
`ppdet_ext.Predictor(folder).predict(pictures)`.
"""
_PREDICT_PADDLE = """
## Predict

In this folder, with paddlepaddle {paddle} alone; `pixels` are as above:

    from paddle import inference

    config = inference.Config("model.json", "model.pdiparams")
    config.disable_mkldnn()
    predictor = inference.create_predictor(config)
    predictor.get_input_handle("pixels").copy_from_cpu(pixels)
    predictor.run()
    {outputs} = [
        predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()
    ]
"""
# What each output is; boxes and masks are of the pixels given, which a caller scales to the picture's own size.
_OUTPUTS = {
    "boxes": "(N, 4) float32: x1 y1 x2 y2 of each object, px of the pixels given",
    "scores": "(N,) float32: from 0 to 1",
    "labels": "(N,) int64: classes, from 0",
    "probs": "(N, S, S) float32: probability of the mask, S × S cells that span the box",
    "image": "(N,) int64: which picture of the batch",
    "masks": "(N, height, width) uint8: 1 in the mask",
    "maps": "({batch}, classes, height, width) float32: probability of each class at each pixel",
    "presence": "({batch}, classes) float32: probability that the class is in the picture",
}
_EXTRAS = {"onnx": "runtime", "openvino": "openvino"}  # formats that the runtime reads
_ENGINES = {"paddle": "Paddle Inference", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class Exported:
    """What is said of an exported model.

    Attributes:
        format: "paddle", "onnx" or "openvino".
        precision: "fp32", "fp16", "bf16" or "int8".
        architecture: of the model.
        input: its name, shape (None where a side may be any), dtype, channels.
        sizes: {"height": [least, most], "width": …}, px, of the pixels that the graph takes.
        outputs: names in their order.
        classes, category_ids: by label.
        transforms: of the reader in their order; the last, NormalizeToCHW, and the padding are in the graph.
        stride: images are padded to multiples of it, in the graph.
        settings: thresholds of the model.
        postprocess: entries of `PostProcess`.
        source: what it was made of: configuration, weights and their SHA-256.
        versions: of the packages that made it.
        differences: of outputs, from the eager model.
        accuracy: deciding numbers of the metric of both models, where they were measured.
        flips: names of the views that are averaged in the graph, as `TestTimeAugmentation` has them.
    """

    format: str
    precision: str
    architecture: str
    input: dict[str, Any]
    sizes: dict[str, list[int]]
    outputs: list[str]
    classes: list[str]
    category_ids: list[int]
    transforms: list[dict[str, Any]]
    stride: int
    settings: dict[str, Any]
    postprocess: list[dict[str, Any]]
    source: dict[str, Any]
    versions: dict[str, str]
    differences: list[dict[str, Any]]
    accuracy: dict[str, Any] = field(default_factory=dict)
    flips: list[str] = field(default_factory=lambda: ["none"])


def write_description(folder: Path, exported: Exported) -> None:
    """Write `inference.yml`, with the sizes and hashes of the files that are there, and README.md."""
    (folder / README).write_text(_readme(exported), encoding="utf-8")
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": digest(path)}
        for path in sorted(folder.iterdir())
        if path.name not in (DESCRIPTION, README)
    }
    text = yaml.safe_dump(_plain({"version": VERSION, **asdict(exported), "files": files}), sort_keys=False, allow_unicode=True)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def demand_replaceable(folder: Path) -> None:
    """UserError where a folder to be written is something else, or holds more than an exported model."""
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():  # a device, too, as /dev/null
            raise UserError(f"--output {folder} is a file; give a folder.")
        return
    others = sorted({path.name for path in folder.iterdir()} - _own_names(folder))
    if others:
        named = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise UserError(f"--output {folder} holds other files, and would be replaced: {named}. Give a new folder.")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within the block no other process exports to that folder. Raises: UserError where one does so already."""
    lock = folder.with_name(f".{folder.name}.lock")
    with locked(lock, 0.0, f"exporting to {folder}; it holds", "--output"):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.rmdir()


def _own_names(folder: Path) -> set[str]:
    """Names of the files that an export has written there; none where its description cannot be read."""
    try:
        told = yaml.safe_load((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return set()
    files = told.get("files") if isinstance(told, dict) else None
    return {DESCRIPTION, README, *map(str, files)} if isinstance(files, dict) else set()


def sizes_of(size: Sequence[int] | None) -> dict[str, list[int]]:
    """The declared range of heights and widths, px, of a model of this size, or of any."""
    if size is None:
        return {"height": [SMALLEST, LARGEST], "width": [SMALLEST, LARGEST]}
    return {"height": [size[0], size[0]], "width": [size[1], size[1]]}


def _readme(exported: Exported) -> str:
    batch = exported.input["shape"][0]
    heights, widths = (_range(exported.sizes[axis]) for axis in ("height", "width"))
    if exported.format in _EXTRAS:
        predict = _PREDICT.format(extra=_EXTRAS[exported.format])
    else:
        names = ", ".join(exported.outputs) + ("," if len(exported.outputs) == 1 else "")
        predict = _PREDICT_PADDLE.format(paddle=exported.versions.get("paddlepaddle", ""), outputs=names)
    text = _README.format(
        architecture=exported.architecture,
        engine=_ENGINES[exported.format],
        batch=batch,
        heights=heights,
        widths=widths,
        views="" if exported.flips == ["none"] else f", and the mean over mirrored views: {', '.join(exported.flips)}",
        outputs="\n".join(f"- `{name}` {_OUTPUTS.get(name, '').format(batch=batch)}" for name in exported.outputs),
        classes=", ".join(f"{label} {name}" for label, name in enumerate(exported.classes)),
        description=f"`{DESCRIPTION}`",
    )
    return text + predict


def predict_command(format: str, folder: Path) -> str | None:
    """The command that finds objects with the model in `folder`; None for a format that the runtime does not read."""
    if format not in _EXTRAS:
        return None
    return f"python -m ppdet_ext.runtime predict {shlex.quote(str(folder))} --images FOLDER --output found"


def _range(sides: Sequence[int]) -> str:
    return f"{sides[0]} px" if sides[0] == sides[1] else f"{sides[0]} to {sides[1]} px"


def _plain(value: Any) -> Any:
    """With dicts, lists and Python's own numbers alone, as YAML has them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
