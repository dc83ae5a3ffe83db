"""What PaddleDetection's own configurations say, in our words: its readers, data sets and keys, or why they cannot be used."""

from collections.abc import Callable, Mapping
from typing import Any

from ppdet_ext.host.workspace import DATASETS

from .files import Tagged
from .keys import READERS
from .problems import Problems

Arguments = Mapping[str, Any]
Entries = list[dict[str, Any]]
# Keys that choose a device, print, or belong to tools that this package has not.
WITHOUT_EFFECT = frozenset({
    "use_xpu", "use_npu", "use_mlu", "use_mps", "print_flops", "print_params", "export", "use_vdl", "vdl_log_dir", "use_wandb",
    "wandb", "fleet", "to_static", "profiler_options", "save_prediction_only", "classwise", "output_eval", "IouType", "bias",
    "eval_height", "eval_width", "save_proposals", "proposals_path", "init_loss_scaling", "amp", "amp_level",
})  # fmt: skip
READER_WITHOUT_EFFECT = (
    "collate_batch",
    "use_shared_memory",
    "use_process",
    "bufsize",
    "inputs_def",
    "num_classes",
    "drop_empty",
)
MIXING = ("mixup_epoch", "cutmix_epoch", "mosaic_epoch", "pre_img_epoch")
INTERPOLATIONS = {0: "nearest", 1: "linear", 2: "cubic", 3: "area", 4: "lanczos"}  # OpenCV's numbers
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class _Inexact(Exception):
    """An operator that has no equal here; says what to change."""


def translate(tree: dict[str, Any], problems: Problems) -> list[str]:
    """Put our data sets and transforms in place of ppdet's that have an equal, in place; gives the keys that change nothing.

    What has none stays as it is, for the checks to refuse it, or goes to `problems`.
    """
    dropped = sorted(WITHOUT_EFFECT & set(tree))
    if tree.get("ema_decay_type") == "threshold":
        dropped.append("ema_decay_type")
    for key in DATASETS:
        if key in tree:
            tree[key] = _dataset(tree[key], key, problems)
    if tree.get("TestDataset") is None:
        tree.pop("TestDataset", None)
    head = tree.get("HTCRoIHead")
    semantic = isinstance(head, dict) and bool(head.get("semantic_head"))
    for key in READERS:
        if isinstance(tree.get(key), dict):
            dropped += _reader(key, tree[key], semantic and key == "TrainReader", problems)
    for key in dropped:
        tree.pop(key, None)
    return dropped


def _dataset(value: Any, key: str, problems: Problems) -> Any:
    """`!COCODataSet` as ours; ppdet's `{name: Class, …}` as `!Class`; its `!ImageFolder` without pictures as None."""
    if isinstance(value, dict) and not isinstance(value, Tagged) and isinstance(value.get("name"), str):
        value = Tagged(value["name"], {name: item for name, item in value.items() if name != "name"})
    if not isinstance(value, Tagged):
        return value
    if value.tag == "ImageFolder" and "images" not in value:
        # It only names classes; --infer_img and --infer_dir name pictures.
        return None
    if value.tag != "COCODataSet":
        return value
    given = {name: item for name, item in value.items() if name != "data_fields"}
    for name, harmless in (("sample_num", -1), ("load_crowd", False), ("repeat", 1), ("load_semantic", False)):
        if given.pop(name, harmless) != harmless:
            problems.add((key, name), f"{key}.{name} of ppdet's COCODataSet has no equal here; remove it.")
    ratio = given.pop("empty_ratio", 1.0)
    more = {"allow_empty": given.pop("allow_empty", False)}
    if more["allow_empty"] and 0 <= ratio < 1:
        more["empty_ratio"] = ratio
    return Tagged("CocoJsonDataSet", {**given, **more})


def _reader(key: str, reader: dict[str, Any], semantic: bool, problems: Problems) -> list[str]:
    """Translate a reader in place, with a semantic target of the masks if it is of ppdet's operators; see `translate`."""
    dropped = []
    for name in READER_WITHOUT_EFFECT:
        if name in reader:
            reader.pop(name)
            dropped.append(f"{key}.{name}")
    for name in MIXING:
        if reader.pop(name, -1) not in (-1, None):
            problems.add((key, name), f"{key}.{name} mixes several images into one, which nothing does here; remove it.")
    samples, normal = _entries((key, "sample_transforms"), reader.get("sample_transforms"), SAMPLE, problems)
    batches, moved = _entries((key, "batch_transforms"), reader.get("batch_transforms"), BATCH, problems)
    # ppdet's single-stage readers normalize whole batches.
    normal += moved
    if len(normal) > 1:
        problems.add((key,), f"{key}: NormalizeImage is there {len(normal)} times; keep one of them.")
    if isinstance(reader.get("sample_transforms"), list):
        # HTC draws it itself from a batch of ppdet's.
        drawn: list[dict[str, Any]] = [{"SemanticFromMasks": {}}] if semantic and normal else []
        reader["sample_transforms"] = [*samples, *drawn, *normal[:1]]
    if isinstance(reader.get("batch_transforms"), list):
        reader["batch_transforms"] = batches
    return dropped


def _entries(path: tuple[str, str], entries: Any, table: dict[str, Any], problems: Problems) -> tuple[Entries, Entries]:
    """A list's entries in our words, and those that normalize, which go to the end of the sample transforms."""
    found: Entries = []
    normal: Entries = []
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        name, arguments = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (None, None)
        if name not in table:
            found.append(entry)
            continue
        try:
            ours = table[name](dict(arguments or {}))
        except _Inexact as why:
            problems.add((*path, str(index), str(name)), f"{'.'.join(path)}: {name} {why}")
            continue
        except (TypeError, ValueError, KeyError, IndexError):
            problems.add((*path, str(index), str(name)), f"{'.'.join(path)}: {name} cannot have the arguments {arguments!r}.")
            continue
        if ours and normal and name != "NormalizeImage" and path[1] == "sample_transforms":
            problems.add((*path, str(index), str(name)), f"{'.'.join(path)}: {name} after NormalizeImage; put it before.")
        (normal if name == "NormalizeImage" else found).extend(ours)
    return found, normal


def _only(arguments: dict[str, Any], **allowed: Any) -> None:
    """Take these arguments out; refuse other values than the ones that have an equal here, and unknown arguments."""
    for name, value in allowed.items():
        if arguments.pop(name, value) != value:
            raise _Inexact(f"has an equal here only with {name}: {value}; set it so, or remove the operator.")
    if arguments:
        raise _Inexact(f"has no argument {', '.join(arguments)} that has an equal here; remove it.")


def _decode(arguments: dict[str, Any]) -> Entries:
    _only(arguments)
    return [{"ReadImage": {}}]


def _nothing(**allowed: Any) -> Callable[[dict[str, Any]], Entries]:
    """An operator whose work another part does here."""

    def translated(arguments: dict[str, Any]) -> Entries:
        _only(arguments, **allowed)
        return []

    return translated


def _flip(arguments: dict[str, Any]) -> Entries:
    probability = arguments.pop("prob", 0.5)
    _only(arguments)
    return [{"FlipImage": {"horizontal": probability, "vertical": 0.0}}]


def _resize(arguments: dict[str, Any]) -> Entries:
    size, interpolation = arguments.pop("target_size"), _interpolation(arguments)
    keep = arguments.pop("keep_ratio", True)
    _only(arguments)
    height, width = [size, size] if isinstance(size, int) else size
    if keep:
        return [{"ResizeShortEdge": {"short_edges": [min(height, width)], "long_limit": max(height, width), **interpolation}}]
    return [{"ResizeFixed": {"height": height, "width": width, **interpolation}}]


def _random_resize(arguments: dict[str, Any]) -> Entries:
    sizes, interpolation = arguments.pop("target_size"), _interpolation(arguments)
    as_range, drawn = arguments.pop("random_range", False), arguments.pop("random_size", True)
    _only(arguments, keep_ratio=True, random_interp=False)
    if not as_range and not drawn:
        return _resize({"target_size": sizes, "keep_ratio": True})
    pairs = [[size, size] if isinstance(size, int) else sorted(size) for size in sizes]
    # ppdet draws from a range with this limit.
    longest = {max(pairs[0][1], pairs[1][1] + 1)} if as_range else {long for _, long in pairs}
    if len(longest) > 1:
        raise _Inexact(f"has several long edges, {sorted(longest)}; there is one limit here: make them equal.")
    mode = {"mode": "range"} if as_range else {}
    short = [short for short, _ in pairs]
    return [{"ResizeShortEdge": {"short_edges": short, "long_limit": longest.pop(), **mode, **interpolation}}]


def _interpolation(arguments: dict[str, Any]) -> dict[str, str]:
    number = arguments.pop("interp", 1)
    if number not in INTERPOLATIONS:
        raise _Inexact(f"has interp: {number}; give one of 0 to 4.")
    return {} if number == 1 else {"interpolation": INTERPOLATIONS[number]}


def _normalize(arguments: dict[str, Any]) -> Entries:
    mean, std = arguments.pop("mean", MEAN), arguments.pop("std", STD)
    scale, kind = arguments.pop("is_scale", True), arguments.pop("norm_type", "mean_std")
    _only(arguments)
    if kind == "none":
        mean, std = [0.0] * 3, [1.0] * 3
    if not scale:
        mean, std = [value / 255 for value in mean], [value / 255 for value in std]
    return [{"NormalizeToCHW": {"mean": list(map(float, mean)), "std": list(map(float, std))}}]


def _pad(arguments: dict[str, Any]) -> Entries:
    stride = arguments.pop("pad_to_stride", 0)
    _only(arguments)
    return [{"PadToStride": {"stride": stride if stride > 0 else 1}}]


def _solov2(arguments: dict[str, Any]) -> Entries:
    arguments.pop("num_grids", None)  # the head's own are taken
    ranges = [[1, 96], [48, 192], [96, 384], [192, 768], [384, 2048]]
    _only(arguments, scale_ranges=ranges, coord_sigma=0.2, sampling_ratio=4.0)
    return []


# Operator of ppdet -> what it is here.
SAMPLE: dict[str, Callable[[dict[str, Any]], Entries]] = {
    "Decode": _decode,
    "RandomFlip": _flip,
    "Resize": _resize,
    "RandomResize": _random_resize,
    "NormalizeImage": _normalize,
    "Permute": _nothing(),
    "Poly2Mask": _nothing(del_poly=False),
}
BATCH: dict[str, Callable[[dict[str, Any]], Entries]] = {
    "NormalizeImage": _normalize,
    "Permute": _nothing(),
    "PadBatch": _pad,
    "PadGT": _nothing(return_gt_mask=True),
    "Gt2Solov2Target": _solov2,
}
