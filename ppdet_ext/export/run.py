"""From a configuration with weights to a folder with the exported model: trace, convert, compare, describe."""

import importlib.metadata
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext import __version__
from ppdet_ext.config.keys import CLASSIFIER, ENSEMBLE, ENSEMBLE_MEAN, POSTPROCESS, VIEWS
from ppdet_ext.errors import UserError, nearest
from ppdet_ext.files.atomic import digest, new_folder
from ppdet_ext.host import Config
from ppdet_ext.inference.build import tells_presence
from ppdet_ext.inference.classes import class_list
from ppdet_ext.inference.members import settings_of, with_weights
from ppdet_ext.inference.views import FLIPS
from ppdet_ext.modeling.ops.seam import convertible_operators
from ppdet_ext.postprocess import STEPS, PostProcess, Step
from ppdet_ext.runtime.open import ONNX, OPENVINO, open_engine
from ppdet_ext.weights.find import find_weights

from . import folder as folders
from . import onnx, openvino
from .child import PACKAGES, demand_packages
from .graph import INPUT, ExportGraph, Flip
from .half import to_half
from .paddle import PaddleEngine, save_paddle
from .pictures import batches_to_compare, calibration_batches
from .precision import fine_layers, quantize
from .reader import ReaderPlan
from .verify import Difference, Engine, check, compare

logger = logging.getLogger("ppdet_ext")
FORMATS = ("paddle", "onnx", "openvino")
PRECISIONS = {"paddle": ("fp32",), "onnx": ("fp32", "fp16", "int8"), "openvino": ("fp32", "fp16", "bf16", "int8")}
DYNAMIC = "dynamic"
MASKS_AS = ("boxes", "full")
# {"images": …, "eager": {number: value}, "exported": {number: value}}
Accuracy = dict[str, Any]


@dataclass(frozen=True)
class ExportOptions:
    """How a model is exported.

    Attributes:
        format: of `FORMATS`.
        precision: of `PRECISIONS`.
        size: (height, width) px of the pixels that the graph takes; "dynamic"; None takes the reader's, else "dynamic".
        batch: images at a time.
        opset: of ONNX.
        calibration: folder of pictures, by whose values int8's ranges are chosen; None takes the configuration's data sets.
        calibration_images: at most so many of them.
        masks: "boxes" gives probabilities that span the boxes; "full" masks of the whole image, too.

    Raises:
        UserError: unknown names, or what does not go together.
    """

    format: str = "onnx"
    precision: str = "fp32"
    size: tuple[int, int] | str | None = None
    batch: int = 1
    opset: int = onnx.OPSET
    calibration: str | None = None
    calibration_images: int = 64
    masks: str = "boxes"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UserError(f"--format {self.format}: unknown.{nearest(self.format, FORMATS)} There are {', '.join(FORMATS)}.")
        known = PRECISIONS[self.format]
        if self.precision not in known:
            others = [name for name in FORMATS if self.precision in PRECISIONS[name]]
            where = f"; {self.precision} is for --format {' or '.join(others)}" if others else ""
            raise UserError(f"--precision {self.precision}: {self.format} is exported with {', '.join(known)}{where}.")
        if self.masks not in MASKS_AS:
            raise UserError(f"--masks {self.masks}: unknown.{nearest(self.masks, MASKS_AS)} There are {', '.join(MASKS_AS)}.")
        if self.batch < 1:
            raise UserError(f"--batch {self.batch}: give 1 or more.")
        if isinstance(self.size, tuple) and not all(folders.SMALLEST <= side <= folders.LARGEST for side in self.size):
            size = " ".join(map(str, self.size))
            raise UserError(f"--size {size}: sides are from {folders.SMALLEST} to {folders.LARGEST} px, height before width.")
        if self.calibration_images < 1:
            raise UserError(f"--calibration_images {self.calibration_images}: give 1 or more.")
        onnx.check_opset(self.opset, int8=self.precision == "int8")


def export(
    cfg: Config, output: Path, options: ExportOptions, judge: Callable[[Path], Accuracy | None] | None = None
) -> list[Difference]:
    """Write the folder `output`; returns how the exported model differs from the eager one.

    Args:
        cfg: from `load_config`, with weights.
        output: folder; an exported model that is there is replaced.
        options: how.
        judge: measures the metric of both models, given the folder of the exported one, or raises UserError; of fewer bits
            it decides in place of the differences. None of its numbers: the differences decide.

    Raises:
        UserError: no weights, a model or reader that cannot be exported, a missing package, a converter that failed, or too
            large a difference. What was there before is left as it was.
    """
    _check(cfg)
    # A link to a folder goes on being one.
    output = output.resolve() if output.is_symlink() else output
    demand_packages(options.format, *(("onnxruntime", "ml_dtypes") if options.precision == "int8" else ()))
    folders.demand_replaceable(output)
    names, ids, _ = class_list(cfg, weights_first=True)
    plan = ReaderPlan.of(cfg, names, ids)
    size = _size(plan, options.size)
    graph = _graph_of(cfg, plan, (names, ids), options)
    with folders.alone(output), new_folder(output, "--output") as aside:
        shape = (options.batch, *(size or (None, None)), 3)
        pictures = options.calibration, options.calibration_images
        calibration = calibration_batches(cfg, plan, shape, *pictures) if options.precision == "int8" else []
        engine = _write(graph, shape, aside, options, calibration)
        found = compare(graph.model, plan, engine, batches_to_compare(cfg, plan, size, options.batch), graph.flips)
        told = _described(cfg, plan, graph, (names, ids), size, options, found)
        folders.write_description(aside, told)
        measured = judge(aside) if judge else None
        if measured is None or options.precision == "fp32":
            check(found, options.precision)
        if measured is not None:
            folders.write_description(aside, replace(told, accuracy=measured))
    logger.info("Exported to %s: %s", output, ", ".join(sorted(path.name for path in output.iterdir())))
    return found


def _check(cfg: Config) -> None:
    """UserError for a configuration that is not one model."""
    if not cfg.weights and not cfg.get(ENSEMBLE):
        raise UserError("No weights are configured; add -o weights=output/…/best_model (suffix not needed).")
    for key in (ENSEMBLE, CLASSIFIER):
        if cfg.get(key):
            raise UserError(
                f"One model is exported at a time, without {key}; remove that from the configuration (-o {key}=null)."
            )
    _steps(cfg)


def _steps(cfg: Config) -> list[dict[str, Any]]:
    """Entries of PostProcess. UserError, before networks are built, for steps that the runtime does not have."""
    entries, room = list(cfg.get(POSTPROCESS) or []), Step.__module__.rpartition(".")[0]
    for name in (name for entry in entries if isinstance(entry, Mapping) for name in entry):
        if name in STEPS and not STEPS[name].__module__.startswith(room):
            raise UserError(
                f"{POSTPROCESS}: {name} cannot be exported: a runtime has no networks or code but the model's. Take the step "
                f"out (-o {POSTPROCESS}=null, or --postprocess FILE), or predict with tools/infer.py."
            )
    return [dict(entry) if isinstance(entry, Mapping) else entry for entry in entries]


def _check_steps(steps: PostProcess, model: Any) -> None:
    """UserError for steps that ask for what an exported model does not have: a file, or what is in a picture."""
    for step in steps.steps:
        kind = f"{POSTPROCESS}: {type(step).__name__}"
        if getattr(step, "file", None) is not None:
            raise UserError(f"{kind} goes by a file about certain images, which cannot be exported; take the step out.")
        if step.needs_presence and not tells_presence(model):
            raise UserError(f"{kind} asks which classes are in a picture, and this model does not tell; take the step out.")


def _graph_of(cfg: Config, plan: ReaderPlan, classes: tuple[list[str], list[int]], options: ExportOptions) -> ExportGraph:
    """The model with its weights, as it is traced. UserError for what it, or its steps, cannot be exported with."""
    model = with_weights(cfg, cfg.weights, classes[0])
    model.eval()
    onnx.check_opset(options.opset, detector=not hasattr(model, "presence"))
    _check_steps(PostProcess(_steps(cfg), *classes), model)
    return ExportGraph(model, plan.normalize.mean, plan.normalize.std, plan.stride, options.masks == "full", _flips(cfg))


def _flips(cfg: Config) -> tuple[Flip, ...]:
    """Views that TestTimeAugmentation asks for. UserError for others than mirrored ones, and another mean than the plain."""
    views = cfg.get(VIEWS) or {}
    if views.get("resizes"):
        raise UserError(f"{VIEWS}.resizes: an exported graph sees pixels of one size; it has `flips` alone (resizes: null).")
    if views and (cfg.get(ENSEMBLE_MEAN) or {}).get("power", 1) != 1:
        raise UserError(f"{ENSEMBLE_MEAN}.power: an exported graph averages views plainly; leave it out.")
    return tuple(FLIPS[name] for name in views.get("flips") or ["none"])


def _size(plan: ReaderPlan, wanted: tuple[int, int] | str | None) -> tuple[int, int] | None:
    """Height and width, None for any. UserError for one that the reader's resizing contradicts."""
    if wanted is None:
        return plan.size
    if isinstance(wanted, str):
        return None
    if plan.size not in (None, wanted):
        height, width = plan.size
        raise UserError(
            f"--size {' '.join(map(str, wanted))}: TestReader resizes every picture to {height} {width}. Leave --size out, or "
            "change ResizeFixed."
        )
    return wanted


def _write(graph: ExportGraph, shape: Any, aside: Path, options: ExportOptions, calibration: Sequence[np.ndarray]) -> Engine:
    """Write the model's files; gives what runs them."""
    if options.format == "paddle":
        save_paddle(graph, shape, aside)
        return PaddleEngine(aside, graph.names)
    with tempfile.TemporaryDirectory() as scratch:
        with convertible_operators():
            save_paddle(graph, shape, Path(scratch))
        whole = aside if options.format == "onnx" else Path(scratch)
        onnx.convert_to_onnx(Path(scratch), whole / onnx.MODEL, graph.names, options.opset)
        if options.precision == "int8":
            quantize(whole / onnx.MODEL, whole / onnx.MODEL, calibration, fine_layers(graph.model))
        if options.format == "onnx":
            if options.precision == "fp16":
                to_half(aside / onnx.MODEL, aside / onnx.MODEL)
            return open_engine(aside, ONNX, device="cpu", threads=None, precision=options.precision)
        half, precise = options.precision in ("fp16", "bf16"), options.precision in ("bf16", "int8")
        openvino.convert_to_openvino(whole / onnx.MODEL, aside, graph.names, half, precise)
    return open_engine(aside, OPENVINO, device="cpu", threads=None, precision=options.precision)


def _described(
    cfg: Config,
    plan: ReaderPlan,
    graph: ExportGraph,
    classes: tuple[list[str], list[int]],
    size: tuple[int, int] | None,
    options: ExportOptions,
    differences: Sequence[Difference],
) -> folders.Exported:
    weights = find_weights(cfg.weights, theirs=True)
    packages = ("paddlepaddle", "numpy", *PACKAGES[options.format])
    return folders.Exported(
        format=options.format,
        precision=options.precision,
        architecture=cfg.architecture,
        input={
            "name": INPUT,
            "shape": [options.batch, *(size or (None, None)), 3],
            "dtype": "uint8",
            "channels": "rgb",
        },
        sizes=folders.sizes_of(size),
        outputs=list(graph.names),
        classes=classes[0],
        category_ids=classes[1],
        transforms=plan.entries(),
        stride=plan.stride,
        settings=asdict(settings_of(cfg)),
        postprocess=_steps(cfg),
        source={"configuration": str(cfg.filename), "weights": weights.name, "sha256": digest(weights)},
        versions={"ppdet-ext": __version__, **{name: importlib.metadata.version(name) for name in packages}},
        differences=[asdict(one) for one in differences],
        flips=[str(name) for name in (cfg.get(VIEWS) or {}).get("flips") or ["none"]],
    )
