"""`load_config`: one configuration file and its overrides, checked, with objects in place of `!Class` nodes."""

import logging
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import tags
from ppdet_ext.host.workspace import DATASETS, Config

from .arguments import check_tags
from .check import check_tree, left_behind, unused_sections
from .files import ROOT, Origins, Tagged, apply_override, dump_tree, find_config, merge, read_tree, supersede
from .keys import DEFAULTS
from .plugins import load_plugins
from .problems import Problems
from .stock import translate

PATH_KEYS = ("dataset_dir", "images")
logger = logging.getLogger("ppdet_ext")


def load_config(
    path: str | Path,
    overrides: Sequence[str] = (),
    over: str | Path | None = None,
    training: bool = True,
    plugins: bool = True,
) -> Config:
    """Read a configuration.

    Args:
        path: YAML file, relative to the working directory or else to the root of the checkout.
        overrides: texts 'a.b.0.c=value', the value in YAML; they reach into lists and `!Class` nodes.
        over: another YAML file, merged over the first before the overrides, as one that tools/tune.py has written.
        training: whether it is to be trained with; otherwise what only a training must not do is no fault.
        plugins: whether its `plugins` are imported, which runs them; without, naming any is a fault.

    Returns:
        Keys with their defaults, and data set objects, none of them read yet. Nothing else is changed by a call; what is
        built of it is built `with workspace(config)`.

    Raises:
        UserError: missing file, invalid YAML, or all unknown keys and wrong values at once.
    """
    file = find_config(path)
    stages: list[dict[str, Any]] = []
    tree, origins = _merged(file, overrides, over, stages)
    problems = Problems(str(file), origins)
    load_plugins(tree, problems, plugins)
    if without_effect := translate(tree, problems):
        logger.warning("%s: keys of ppdet that change nothing here: %s", file, ", ".join(without_effect))
    check_tags(tree, problems)
    problems.settle()
    check_tree(tree, problems, training)
    problems.settle()
    for name in unused_sections(tree):
        if not left_behind(name, tree, stages):
            logger.warning("%s: section %s is not used by %s", file, name, tree["architecture"])
    return _built({**DEFAULTS, **tree}, file.stem, problems)


def _merged(
    file: Path, overrides: Sequence[str], over: str | Path | None, stages: list[dict[str, Any]]
) -> tuple[dict[str, Any], Origins]:
    """The tree of a file with what is merged over it, and where each of its keys was given; `stages` as of `read_tree`."""
    tree, origins = read_tree(file, stages)
    if over is not None:
        if not any(Path(folder, over).exists() for folder in ("", ROOT)):
            raise UserError(f"--postprocess {over} does not exist; tools/tune.py writes such a file, tuned.yml of the run.")
        upper, upper_origins = read_tree(find_config(over))
        supersede(origins, upper_origins, upper)
        merge(tree, upper)
        stages.append(deepcopy(tree))
    for override in overrides:
        apply_override(tree, origins, override)
    return tree, origins


def _built(tree: dict[str, Any], filename: str, problems: Problems) -> Config:
    """A checked tree as a value, with objects in place of `!Class` nodes. UserError for what a constructor refuses."""
    built = {key: _build(value, (key,), problems) for key, value in tree.items()}
    for key in DATASETS:
        _check_class_count(key, built.get(key), tree["num_classes"], problems)
    problems.settle()
    return Config(built, deepcopy(tree), filename)


def dump_config(cfg: Config) -> str:
    """The resolved configuration as YAML, with nothing left to inherit; `load_config` reads it again."""
    return dump_tree(cfg.resolved)


def resolve_path(path: str | Path) -> Path:
    """A relative path of a configuration: from the working directory if it exists there, else from the checkout's root.

    Where the working directory is outside the checkout, a path that exists nowhere stays relative to it.
    """
    here, there = Path(path).expanduser(), ROOT / path
    cwd = Path.cwd()
    if here.is_absolute() or here.exists() or cwd == ROOT:
        return here
    return there if there.exists() or cwd.is_relative_to(ROOT) else here


def output_path(path: str | Path) -> Path:
    """Where a relative path of results lies: in the working directory; within the checkout, below its root.

    Unlike `resolve_path` it does not look at what exists: results of a run elsewhere must not join those of the checkout.
    """
    here, cwd = Path(path).expanduser(), Path.cwd()
    return here if here.is_absolute() or cwd == ROOT or not cwd.is_relative_to(ROOT) else ROOT / path


def _check_class_count(key: str, dataset: Any, num_classes: int, problems: Problems) -> None:
    """Data sets that know their classes before they are read (as a plain attribute) are checked at once."""
    names = vars(dataset).get("class_names") if dataset is not None else None
    if names and len(names) != num_classes:
        problems.add(("num_classes",), f"num_classes is {num_classes}, but {key} has {len(names)} classes.")


def _build(value: Any, path: tuple[str, ...], problems: Problems) -> Any:
    """Replace `!Class` descriptions by objects, innermost first."""
    if isinstance(value, Tagged):
        kwargs = {key: _build(item, (*path, key), problems) for key, item in value.items()}
        for key in PATH_KEYS:
            if isinstance(kwargs.get(key), str):
                kwargs[key] = str(resolve_path(kwargs[key]))
        try:
            return tags()[value.tag](**kwargs)
        except (TypeError, ValueError, AssertionError) as error:
            problems.add(path, f"{'.'.join(path)} (!{value.tag}): {error}")
            return None
    if isinstance(value, dict):
        return {key: _build(item, (*path, str(key)), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_build(item, (*path, str(index)), problems) for index, item in enumerate(value)]
    return value
