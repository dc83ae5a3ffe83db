"""Writes docs/reference/*.md of the docstrings and signatures that there are: python docs/site/make_reference.py

Nothing is written by hand in that folder; tests/test_reference.py says when a page is stale, and which keys have no meaning.
"""

import functools
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from reference_text import command_page, meanings_of, object_page, summary_of, type_words  # noqa: E402

import ppdet_ext  # noqa: E402
import ppdet_ext.register  # noqa: E402
from ppdet_ext.commands.main import COMMANDS  # noqa: E402
from ppdet_ext.config.arguments import parameters_of  # noqa: E402
from ppdet_ext.config.types import annotations_of  # noqa: E402
from ppdet_ext.host.registry import ADAPTERS, KINDS, METRICS, SECTIONS, modules, tags  # noqa: E402
from ppdet_ext.runtime.camera import Camera  # noqa: E402
from ppdet_ext.runtime.predictor import Predictor as ExportedPredictor  # noqa: E402

FOLDER = ROOT / "docs" / "reference"
EXAMPLES = 2
# What the program gives a metric, and no configuration.
GIVEN = {"records", "class_names", "category_ids"}
# Of PaddleDetection, those that the shipped configurations lean on.
OF_PPDET = ("FPN", "ResNet", "SwinTransformer", "PiecewiseDecay", "CosineDecay", "LinearWarmup", "ExpWarmup")
# What `ppdet_ext.Predictor` is of the folder of an exported model, and what `on_frame` gives.
RUNTIME = {"runtime.Predictor": ExportedPredictor, "runtime.Camera": Camera}
# What its docstrings leave out.
SAID_HERE = {
    "values": "rates of the stages, one more than `milestones`; null: `gamma` says them",
    "use_warmup": "false: no warm-up before it",
    "pretrain_img_size": "side, px, of the pictures that its weights were trained on",
    "patch_size": "side of a patch, px",
    "depths": "blocks of each stage",
    "num_heads": "attention heads of each stage",
    "out_indices": "stages whose features are handed on",
    "frozen_stages": "stages that do not learn; -1: none",
    "pretrained": "weights of ImageNet, a URL or a file",
}

ENTRY = "Entries of a list, `- Name: {key: value}`:"
SECTION = "Each is a section of its name; a key of the part above says the name."
ADAPTED = ", ".join(f"`{name}`" for name in sorted(ADAPTERS))
# Page -> title, and what stands before its classes.
INTRODUCED = {
    "datasets": (
        "Data sets",
        "Behind `TrainDataset:`, `EvalDataset:`, `TestDataset:`, as a tag: `!SteelDataSet {fold: 0}`. Where their files lie:"
        " [data sets and their folders](../../dataset/README.md).",
    ),
    "transforms": (
        "Transforms",
        f"{ENTRY} `sample_transforms` of a reader; `PadToStride` of its `batch_transforms`. What suits what:"
        " [transforms and samplers](../transforms.md).",
    ),
    "steps": (
        "Steps after the model",
        f"{ENTRY} `PostProcess`. Which, when: [steps](../postprocess.md). Of a float or a list or a mapping"
        " a number is for all classes, a list has one for each, a mapping names classes, or their ids.",
    ),
    "metrics": (
        "Metrics",
        "Named by `metric:` or `--metric`; options are the section of the name, `PixelF1: {reduction: micro}`. What they"
        " measure: [metrics](../metrics.md).",
    ),
    "losses": (
        "Losses of segmentation maps",
        f"{ENTRY} `losses` of a `SemanticSegmentor`. Formulas and sources: [losses](../losses.md).",
    ),
    "architectures": (
        "Architectures",
        f"Named by `architecture:`. {SECTION} PaddleDetection's own that train here, {ADAPTED}, have PaddleDetection's keys:"
        " [PaddleDetection, both ways](../paddledetection.md).",
    ),
    "heads": ("Heads of detectors", SECTION),
    "encoders": ("Backbones and encoders", f"{SECTION} Which there are: [semantic segmentation](../segmentation.md#encoders)."),
    "decoders": ("Decoders", f"{SECTION} More: [semantic segmentation](../segmentation.md#decoders)."),
    "training": (
        "Optimizer, schedules, sampler, sample",
        "`OptimizerBuilder` and `LearningRate` are sections; a schedule is the first entry of `LearningRate.schedulers`, as a"
        " tag. Examples: [losses, optimizers, schedules](../losses.md).",
    ),
    "hooks": ("Hooks", f"{ENTRY} `hooks`. More come from [plugins](../plugins.md#a-hook)."),
    "ppdet": (
        "Parts of PaddleDetection",
        "Of its many parts those that the shipped configurations lean on. The text is PaddleDetection's, where it has one.",
    ),
}


class Page(NamedTuple):
    """title and intro: text. parts: name in a configuration -> class."""

    title: str
    intro: str
    parts: Mapping[str, type]


def keys_of(cls: type) -> list[inspect.Parameter]:
    """The keys of a class's section."""
    return [one for name, one in parameters_of(cls)[0].items() if not (name in GIVEN and cls in METRICS.values())]


def without_meaning(cls: type) -> list[str]:
    """Keys of a class of which neither its docstring nor that of a base says what they do."""
    keys = [key.name for key in keys_of(cls)]
    found = meanings_of(cls, keys)
    return [key for key in keys if key not in found]


def section(name: str, cls: type) -> str:
    """A class: what it is, and a row for each of its keys."""
    keys = keys_of(cls)
    types, found = annotations_of(cls.__init__), meanings_of(cls, [key.name for key in keys])  # type: ignore[misc]
    shared = set(getattr(cls, "__shared__", ()))
    lines = [f"## {name}", "", summary_of(cls, [key.name for key in keys]), ""]
    if keys:
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key in keys:
        kind = type_words(types.get(key.name), key.default)
        meaning = found[key.name].text if key.name in found else SAID_HERE.get(key.name, "")
        if key.name in shared:
            meaning = f"{meaning} (Unless it is said here: the key of this name at the top level.)".strip()
        lines.append(f"| `{key.name}` | {kind} | {shown(key.default)} | {meaning} |")
    if not keys:
        lines.append("It has no keys.")
    module = cls.__module__.replace(".", "/") + ".py"
    if cls.__module__.startswith("ppdet_ext."):
        used = ", ".join(f"[`{file}`](../../{file})" for file in used_in(name))
        lines += ["", f"[Source](../../{module})" + (f" · used in {used}" if used else "")]
    return "\n".join(lines)


@functools.cache
def configurations() -> dict[str, str]:
    """Path -> text of the shipped configurations."""
    files = sorted((ROOT / "configs").rglob("*.yml"), key=lambda file: ("_base_" in file.parts, file))
    # What lies beside the folders is the reader's own.
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files if file.parent.name != "configs"}


def used_in(name: str) -> list[str]:
    """The first shipped configurations that name a part, those that are run before what they inherit."""
    wanted = re.compile(rf"^[^#\n]*(?<![\w.]){re.escape(name.removeprefix('TrainReader.'))}(?!\w)", re.M)
    found = (file for file, text in configurations().items() if wanted.search(text))
    return [file for _, file in zip(range(EXAMPLES), found)]


def shown(default: Any) -> str:
    """A default as YAML has it."""
    if default is inspect.Parameter.empty:
        return "required"
    return "`" + _yaml(default).replace("|", "\\|") + "`"


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, (str, int, float)):
        return str(value) if value != "" else '""'
    return (value if isinstance(value, type) else type(value)).__name__


def our_modules() -> dict[str, type]:
    """The parts of a model that this package has: name -> class."""
    found = {name: getattr(schema.pymodule, name, None) for name, schema in modules().items()}
    known = {name for kind in KINDS.values() for name in kind}
    return {name: cls for name, cls in found.items() if cls and cls.__module__.startswith("ppdet_ext.") and name not in known}


def of_rooms(parts: Mapping[str, type], *rooms: str) -> dict[str, type]:
    """Those whose module's name has one of these words."""
    return {name: cls for name, cls in sorted(parts.items()) if any(room in cls.__module__ for room in rooms)}


def pages() -> dict[str, Page]:
    """File name -> page of classes that a configuration names."""
    parts, everything = our_modules(), tags()
    ours = {name: cls for name, cls in everything.items() if cls.__module__.startswith("ppdet_ext.")}
    architectures = {name: cls for name, cls in sorted(parts.items()) if getattr(cls, "__category__", "") == "architecture"}
    heads = {name: cls for name, cls in of_rooms(parts, ".detection.").items() if name not in architectures}
    found = {
        "datasets": KINDS["data set"],
        "transforms": KINDS["transform"] | KINDS["batch transform"],
        "steps": KINDS["step"],
        "metrics": METRICS,
        "losses": KINDS["segmentation loss"],
        "architectures": architectures,
        "heads": heads,
        "encoders": of_rooms(parts, ".backbones."),
        "decoders": of_rooms(parts, ".decoders."),
        "hooks": KINDS["hook"],
        "training": {**of_rooms(parts, ".host."), **of_rooms(ours, ".schedules"), **SECTIONS},
        "ppdet": {name: everything[name] for name in OF_PPDET},
    }
    return {name: Page(*INTRODUCED[name], dict(sorted(_shipped(parts).items()))) for name, parts in found.items()}


def _shipped(parts: Mapping[str, type]) -> dict[str, type]:
    """Those that no plugin has brought."""
    return {name: cls for name, cls in parts.items() if cls.__module__.startswith(("ppdet_ext.", "ppdet."))}


def written() -> dict[str, str]:
    """File name -> text of all pages of the reference."""
    texts = {}
    for name, page in pages().items():
        names = " · ".join(f"[{part}](#{part.lower().replace('.', '')})" for part in page.parts)
        body = "\n\n".join(section(part, cls) for part, cls in page.parts.items())
        texts[f"{name}.md"] = f"# {page.title}\n\n{page.intro}\n\n{names}\n\n{body}\n"
    texts["commands.md"] = command_page({name: (one.about, one.parser(f"{name}.py")) for name, one in COMMANDS.items()})
    library = {name: getattr(ppdet_ext, name) for name in ppdet_ext.__all__}
    texts["library.md"] = object_page(library | RUNTIME, with_bases_elsewhere=RUNTIME)
    titles = {name: re.match("# (.*)", text).group(1) for name, text in texts.items()}  # type: ignore[union-attr]
    rows = "\n".join(f"- [{title}]({name})" for name, title in titles.items())
    texts["index.md"] = (
        "# Reference of all parts\n\nWritten by `docs/site/make_reference.py` of signatures and docstrings: every key with its"
        " type, its default and its meaning. The keys of the top level: [configurations](../configuration.md).\n\n"
        + rows
        + "\n"
    )
    return texts


def all_parts() -> Iterable[tuple[str, type]]:
    """(name, class) of all parts of this package that have keys."""
    return ((name, cls) for file, page in pages().items() if file != "ppdet" for name, cls in page.parts.items())


def main() -> None:
    """Write the pages, and say which keys are without a meaning."""
    FOLDER.mkdir(exist_ok=True)
    texts = written()
    for path in FOLDER.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    for name, cls in all_parts():
        if missing := without_meaning(cls):
            print(f"{name} ({cls.__module__}): no meaning of {', '.join(missing)}")


if __name__ == "__main__":
    main()
