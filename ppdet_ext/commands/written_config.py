"""A configuration written for data sets that are there: read, measured, chosen for, and loaded as a training would."""

import itertools
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import paddle

import ppdet_ext.register  # noqa: F401  what configurations may name
from ppdet_ext.config.load import load_config
from ppdet_ext.data.images.depth import value_range
from ppdet_ext.data.splits.balance import aligned
from ppdet_ext.environment import PACKAGE, ROOT
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.host.registry import DATASETS
from ppdet_ext.starter.choose import WANTED_SIZE, Choices, Machine, choose
from ppdet_ext.starter.gather import tracked
from ppdet_ext.starter.models import model_named
from ppdet_ext.starter.statistics import statistics_of
from ppdet_ext.starter.write import DataSection, DataSections, Naming, configuration
from ppdet_ext.structures import Record

from .flags import PROGRAM

logger = logging.getLogger("ppdet_ext")


def write_config(path: Path, data: DataSections, *, model: str, made_of: str, overwrite: bool) -> Path:
    """Read the data sets, choose, write the configuration and load it, as a training would; returns its path.

    Args:
        data: the sections; `value_range` is found here.
        model: one of `MODEL_NAMES`.
        made_of: the annotations, in words.
        overwrite: replace a file that is there and says something else.

    Raises: UserError for data that nothing can be learnt from, an unknown model, or a file that is there.
    """
    machine = this_machine()
    chosen_model = model_named(model, machine.gpu)
    train = _read(data.train)
    found = statistics_of(train.records, [str(name) for name in train.class_names], made_of)
    data = replace(data, value_range=_range_of(train.records))
    chosen = choose(found, chosen_model, machine)
    naming = Naming(path.stem, made_of, _commands(path))
    text = configuration(found, chosen, chosen_model, machine, data, naming)
    _write(path, text, overwrite, train)
    _tell(path, chosen)
    return path


def _read(section: DataSection) -> Any:
    """The data set of a section, read."""
    return DATASETS[section.tag](**section.arguments).load()


def this_machine() -> Machine:
    """Whether Paddle has a GPU here, and the memory that is free."""
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        return Machine(True, float(paddle.device.cuda.get_device_properties().total_memory))
    limits = [_kilobytes("/proc/meminfo", "MemAvailable:") * 1024.0, _number_in("/sys/fs/cgroup/memory.max")]
    return Machine(False, min(limit for limit in (*limits, 64e9) if limit))


def _kilobytes(file: str, key: str) -> int:
    try:
        return next(int(line.split()[1]) for line in Path(file).read_text().splitlines() if line.startswith(key))
    except (OSError, StopIteration, ValueError):
        return 0


def _number_in(file: str) -> float:
    try:
        return float(Path(file).read_text())
    except (OSError, ValueError):
        return 0.0


def _range_of(records: Sequence[Record]) -> tuple[float, float] | None:
    files = [record.file for record in records if os.path.isfile(record.file)]
    return value_range(tracked(files, "Depth of the pictures"))


def _commands(path: Path) -> tuple[str, ...]:
    config = f"-c {shlex.quote(str(path))}"
    return (
        f"{command_line('explore')} {config}",
        f"{command_line('train')} {config} --eval",
        f"{command_line('eval')} {config} --classwise",
        f"{command_line('infer')} {config} --infer_dir PICTURES --save_results csv",
    )


def command_line(name: str) -> str:
    """How the user calls a command of ours: as the console command, or as a script of the checkout."""
    if PACKAGE == ROOT or Path(sys.argv[0]).name == PROGRAM:
        return f"{PROGRAM} {name}"
    return f"python {os.path.relpath(ROOT / 'tools' / f'{name}.py')}"


def _write(path: Path, text: str, overwrite: bool, train: Any) -> None:
    if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
        logger.info("%s says this already", path)
        return
    demand_free(path, "--config", overwrite)

    def write(aside: Path) -> None:
        aside.write_text(text, encoding="utf-8")
        _compare_classes(train, load_config(aside).EvalDataset.load())

    write_atomic(path, write, "--config")


def _compare_classes(train: Any, held: Any) -> None:
    """Warn where training and evaluation have other classes, or in another order, with both lists side by side."""
    lists = [[str(name) for name in dataset.class_names] for dataset in (train, held)]
    if lists[0] == lists[1]:
        return
    pairs = itertools.zip_longest(*lists, fillvalue="")
    rows = [[str(number), *pair] for number, pair in enumerate(pairs, 1)]
    titles = ["class", *(str(dataset.anno_path) for dataset in (train, held))]
    what, fate = "other classes", "They are taken for the same, line by line: name them alike, unless they are"
    if sorted(lists[0]) == sorted(lists[1]):
        what, fate = "the same classes in another order", "They are matched by name; the same ids in both files would be safer"
    table = "\n".join(line.rstrip() for line in aligned([titles, *rows]))
    logger.warning("Training and evaluation have %s:\n%s\n%s", what, table, fate)


def demand_free(path: Path, flag: str, overwrite: bool) -> None:
    """UserError where `path` is there, or cannot be written."""
    if path.exists() and not overwrite:
        raise UserError(
            f"{path} exists already. Give another {flag}, or --overwrite to replace what an earlier run has written."
        )
    demand_writable(path, flag)


def _tell(path: Path, chosen: Choices) -> None:
    if (anchors := chosen.anchors) is not None:
        ratios = ", ".join(f"{ratio:g}" for ratio in anchors.ratios)
        logger.info(
            "Anchors of ratios %s, scale %g reach %.1f %% of the boxes by an IoU of .5 or more (the usual ones %.1f %%)",
            ratios, anchors.scale, 100 * anchors.reached, 100 * anchors.usual,
        )  # fmt: skip
    height, width = chosen.shown
    if chosen.small < WANTED_SIZE / 2:
        logger.warning(
            "A tenth of the objects measures less than %.0f px in pictures of %dx%d px, and will hardly be found. Raise "
            "the sizes in %s and train on windows (CropAroundDefect; docs/own_data.md, tiny objects on huge pictures)",
            chosen.small, width, height, path,
        )  # fmt: skip
    text = "Images of %dx%d px, %d a step, %d epochs of %s; %s says why"
    logger.info(text, width, height, chosen.batch, chosen.epochs, counted(chosen.steps, "steps"), path)
    logger.info("Now:\n  %s", "\n  ".join(_commands(path)))


def path_from(path: str, folder: str) -> str:
    """`path` as a configuration names it: relative to `folder` if it is below that, or both below the working directory.

    Anything else gets its full name.
    """
    here, own, resolved = Path.cwd(), Path(folder).resolve(), Path(path).resolve()
    near = resolved.is_relative_to(own) or all(one.is_relative_to(here) for one in (own, resolved))
    return os.path.relpath(resolved, own) if near else str(resolved)
