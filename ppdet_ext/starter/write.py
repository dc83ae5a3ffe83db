"""A configuration as YAML text, with a comment for each choice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ppdet_ext.errors import counted

from .anchors import REACHED, USUAL_RATIOS, USUAL_SCALE
from .choose import CPU, GPU, SMALL_SHARE, WANTED_SIZE, Choices, Machine
from .models import Model
from .statistics import Statistics

BASES = "configs/_base_"


@dataclass(frozen=True)
class DataSection:
    """A data set of the configuration: its class, and arguments that differ from the defaults."""

    tag: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Naming:
    """name: of the configuration's file without suffix, which is that of the run's folder. made_of: the annotations, in words.
    commands: lines that train, evaluate and predict with it."""

    name: str
    made_of: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class DataSections:
    """train, evaluation: data sets of the configuration. test: images for infer without --infer_dir, or None.
    value_range: `ReadImage.range` of pictures of more than 8 bits, or None."""

    train: DataSection
    evaluation: DataSection
    test: DataSection | None
    value_range: tuple[float, float] | None = None


def configuration(
    found: Statistics, chosen: Choices, model: Model, machine: Machine, data: DataSections, naming: Naming
) -> str:
    """The YAML text, which `load_config` takes from any folder."""
    parts = (
        _head(found, model, naming),
        _bases(model, machine, naming),
        _data(found, chosen, data),
        _readers(found, chosen, model, data),
        _model(found, chosen, model),
        _schedule(found, chosen, model),
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(found: Statistics, model: Model, naming: Naming) -> Iterator[str]:
    yield _comment(f"{model.title} on {naming.made_of}.")
    yield from (f"#   {command}" for command in naming.commands)
    yield "# Every number may be changed; docs/own_data.md says how each was chosen."


def _bases(model: Model, machine: Machine, naming: Naming) -> Iterator[str]:
    yield "_BASE_:  # shipped files, found from any folder"
    yield from (f"  - {BASES}/{base}" for base in ("runtime.yml", *model.bases))
    yield ""
    yield "# What eval and infer take: the best of train --eval. Without --eval there is model_final alone."
    yield f"weights: {_text(f'output/{naming.name}/best_model')}"
    yield f"use_gpu: {_text(machine.gpu)}"
    if not model.anchors:
        yield "metric: MeanIoU"


def _data(found: Statistics, chosen: Choices, data: DataSections) -> Iterator[str]:
    listed = ", ".join(f"{name} {count}" for name, count in zip(found.class_names, found.objects.tolist()))
    yield _comment(
        f"{counted(found.images, 'images')}, {found.empty} of them without objects; objects of each class: {listed}."
    )
    yield f"num_classes: {len(found.class_names)}"
    more = {} if chosen.empty_ratio is None else {"empty_ratio": chosen.empty_ratio}
    train = DataSection(data.train.tag, {**data.train.arguments, **more})
    notes = {"empty_ratio": "more than a quarter of the images show no object; of those in training a quarter may"}
    for key, section in (("TrainDataset", train), ("EvalDataset", data.evaluation), ("TestDataset", data.test)):
        yield ""
        yield f"{key}:" + (" null" if section is None else f" !{section.tag}")
        for name, value in section.arguments.items() if section is not None else ():
            yield f"  {name}: {_text(value)}" + (f"  # {notes[name]}" if name in notes else "")


def _readers(found: Statistics, chosen: Choices, model: Model, data: DataSections) -> Iterator[str]:
    height, width = chosen.shown
    yield _comment(
        f"Most images are {found.usual_size[1]}x{found.usual_size[0]} px and are shown at {width}x{height} px (width x "
        f"height). Then {100 - SMALL_SHARE} % of the objects measure {chosen.small:.0f} px or more (root of the box's area; "
        f"{WANTED_SIZE} are wanted)."
    )
    read = "ReadImage: {}"
    if data.value_range is not None:
        read = f"ReadImage: {{range: {list(data.value_range)}}}"
        yield "# Images of more than 8 bits: these values of the pixels become 0 and 255, in training and inference alike."
    resize = f"ResizeShortEdge: {{short_edges: [{chosen.short_edge}], long_limit: {chosen.long_limit}}}"
    yield from _reader("TrainReader:", [f"- {read}", f"- {resize}", *_augmentation(chosen), *_TARGETS[model.target]])
    yield f"  batch_size: {chosen.batch}  # as time, free memory and the number of images allow"
    yield "  shuffle: true"
    yield "  drop_last: true"
    yield ""
    yield from _reader("EvalReader: &whole", [f"- {read}", f"- {resize}"])
    yield "  batch_size: 1"
    yield ""
    yield "TestReader: *whole"


_TARGETS: dict[str, list[str]] = {
    "semantic map": ["- SemanticFromMasks: {}"],
    "planes of classes": ["- ClassMasks: {}"],
    "none": [],
}


def _reader(title: str, transforms: list[str]) -> Iterator[str]:
    """A reader up to its batch size."""
    yield title
    yield "  sample_transforms:"
    yield from (f"    {line}" for line in (*transforms, "- NormalizeToCHW: {}"))
    yield "  batch_transforms:"
    yield "    - PadToStride: {stride: 32}"


def _augmentation(chosen: Choices) -> Iterator[str]:
    if chosen.window is not None:
        share = chosen.shown[0] * chosen.shown[1] / (chosen.window[0] * chosen.window[1])
        yield f"# Windows that mostly show an object; a whole image has {share:.1f} times their pixels."
        yield f"- CropAroundDefect: {{height: {chosen.window[0]}, width: {chosen.window[1]}, probability: 0.8}}"
    if chosen.mirror:
        yield "- FlipImage: {horizontal: 0.5}  # vertical: 0.5 too, if up and down mean nothing in your images"
    else:
        yield "# Not mirrored (FlipImage): a class tells left from right."
    yield "- JitterColor: {brightness: 0.1, contrast: 0.1}"


def _model(found: Statistics, chosen: Choices, model: Model) -> Iterator[str]:
    if not model.small:
        yield "# From ImageNet's weights, which are downloaded once. Without them: pretrain_weights: null, and"
        yield "# HTCResNet: {freeze_at: -1, norm_eval: false}."
    yield from model.lines or (f"# The model is that of {model.bases[0]}; sections of its parts may be written here.",)
    if chosen.anchors is None:
        yield ""
        yield "# An object of each connected part of a class, unless it has less than half the pixels that 99 % of the objects"
        yield "# have."
        yield "# A tuned.yml of tools/tune.py has steps of its own, which take the place of these."
        yield "PostProcess:"
        yield f"  - Components: {{min_area: {int(found.smallest / 2)}}}"
        return
    own = chosen.anchors
    usual = f"The usual anchors (ratios {', '.join(map(_number, USUAL_RATIOS))}, scale {_number(USUAL_SCALE)})"
    reach = f"of {len(found.boxes)} boxes by an IoU of {REACHED} or more"
    changed = (own.ratios, own.scale, own.inside_only) != (USUAL_RATIOS, USUAL_SCALE, model.inside_only)
    yield ""
    yield _comment(
        f"{usual} reach {own.usual:.1%} {reach}"
        + (f", these {own.reached:.1%}." if changed else "; others reach hardly more.")
        + " Ratios are height : width; an anchor's side is scale times the stride, 4 to 64 px."
    )
    yield "HTCRPNHead:"
    yield f"  ratios: [{', '.join(map(_number, own.ratios))}]"
    yield f"  scale: {_number(own.scale)}"
    yield from (f"  {line}" for line in model.rpn)
    if model.inside_only and not own.inside_only:
        yield "  inside_only: false  # objects that reach over the whole image are met by anchors that reach over its edge"


def _schedule(found: Statistics, chosen: Choices, model: Model) -> Iterator[str]:
    limits = CPU if model.small else GPU
    yield _comment(
        f"{chosen.epochs} epochs of {counted(chosen.steps, 'steps')}: about {limits.seen} images are seen, but in no fewer "
        f"than {limits.epochs[0]} and no more than {limits.epochs[1]} epochs."
    )
    if model.anchors:
        yield _comment(
            f"The rate is that for {chosen.base_batch} images a step, and is scaled to those a step has; after each of the "
            "milestones (epochs) it is a tenth of what it was."
        )
    yield f"epoch: {chosen.epochs}"
    if model.anchors:
        yield f"base_batch_size: {chosen.base_batch}"
    yield f"snapshot_epoch: {max(1, chosen.epochs // 10)}"
    yield f"log_iter: {min(20, max(1, chosen.steps))}"
    yield ""
    yield "LearningRate:"
    if model.anchors:
        yield "  base_lr: 0.02"
        yield "  schedulers:"
        yield f"    - !PiecewiseDecay {{gamma: 0.1, milestones: {list(chosen.milestones)}}}"
        yield f"    - !LinearWarmup {{start_factor: 0.1, steps: {chosen.warmup}}}"
    else:
        yield "  base_lr: 0.002"
        yield "  schedulers:"
        yield f"    - !OneCycle {{max_epochs: {chosen.epochs}}}"
    yield ""
    yield "OptimizerBuilder:"
    yield "  clip_grad_by_norm: 10.0"
    if model.anchors:
        yield "  optimizer: {type: Momentum, momentum: 0.9}"
        yield "  regularizer: {type: L2, factor: 0.0001}"
    else:
        yield "  optimizer: {type: AdamW, weight_decay: 0.0001}"
        yield "  regularizer: null"


def _comment(text: str) -> str:
    """Lines of at most 128 characters that begin with #."""
    lines, line = [], "#"
    for word in (text if _printable(text) else ascii(text)).split():
        if len(line) + 1 + len(word) > 128:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return "\n".join([*lines, line])


def _text(value: Any) -> str:
    """A value as JSON, which is YAML."""
    return json.dumps(value, ensure_ascii=not _printable(str(value)))


def _printable(text: str) -> bool:
    # YAML knows no other characters, not even in comments.
    return text.isprintable()


def _number(value: float) -> str:
    return f"{value:g}"
