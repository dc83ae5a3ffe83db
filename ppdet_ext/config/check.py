"""Checks of a merged configuration tree before anything is built; every problem found is reported, not only the first."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ppdet_ext.errors import nearest
from ppdet_ext.host.registry import DATASETS, SECTIONS, modules, tags, usable_architectures, why_unknown
from ppdet_ext.host.workspace import DATASETS as DATASET_KEYS

from .arguments import check_arguments, check_entries, check_keys, parameters_of
from .files import KeyPath, Tagged
from .keys import CLASSIFIER, ENSEMBLE, READERS, REQUIRED, TABLE, Entries, Key, names_below
from .problems import Problems
from .sections import check_classifier, check_ensemble, check_hooks, check_metric, check_module, check_section

# Of keys whose type in the table does not say all.
CHECKS: dict[str, Callable[[Any, Problems], None]] = {
    "metric": check_metric,
    "hooks": check_hooks,
    ENSEMBLE: check_ensemble,
    CLASSIFIER: check_classifier,
    "LearningRate": lambda value, problems: check_module(("LearningRate",), "LearningRate", value, problems),
    "OptimizerBuilder": lambda value, problems: check_module(("OptimizerBuilder",), "OptimizerBuilder", value, problems),
}


def check_tree(tree: dict[str, Any], problems: Problems, training: bool = True) -> None:
    """Check keys, names and simple types of the whole tree; what is wrong goes to `problems`.

    training: whether to look for what only a training must not do.
    """
    known = modules()
    shared = {key for schema in known.values() for key in schema.shared}
    for key, value in tree.items():
        if key in TABLE or key in SECTIONS:
            _check_key((key,), value, problems)
        elif key in known:
            check_module((key,), key, value, problems)
        elif key not in shared:
            choices = {*(name for name in TABLE if "." not in name), *SECTIONS, *known, *shared}
            problems.unknown((key,), choices, hint=_elsewhere(str(key), tree))
    if training:
        _check_folds(tree, problems)
    for key, facts in TABLE.items():
        if facts.default is REQUIRED and key not in tree:
            problems.add((), f"key {key!r} is missing.")
    name, usable = tree.get("architecture"), usable_architectures()
    if isinstance(name, str) and name not in usable:
        what = "is an architecture of ppdet that has no adapter here" if name in known else "is not registered"
        problems.add(("architecture",), f"architecture {name!r} {what}.{nearest(name, usable)} There are {', '.join(usable)}.")


# What other tools call a key.
_ALIASES = {
    **dict.fromkeys(("lr", "learning_rate", "base_learning_rate"), "base_lr"),
    **dict.fromkeys(("bs", "batch", "batchsize", "images_per_batch", "batch_size_per_card"), "batch_size"),
    **dict.fromkeys(("data", "data_dir", "data_root"), "dataset_dir"),
    **dict.fromkeys(("annotations", "ann_file", "anno"), "anno_path"),
    "images": "image_dir",
}


def _elsewhere(key: str, tree: Mapping[str, Any]) -> str:
    """The hint with the whole paths of a key that is given without what is above it (`lr` for LearningRate.base_lr); or ""."""
    wanted = _ALIASES.get(key.lower(), key)
    found = [".".join(path) for path in _paths(tree, ()) if path[-1] == wanted and len(path) > 1]
    if wanted != key and not found and wanted in TABLE:
        found = [wanted]
    shown = found[:3]
    return f" Did you mean {' or '.join(map(repr, shown))}{', or another such' if len(found) > 3 else ''}?" if shown else ""


def _paths(value: Any, above: KeyPath) -> Iterator[KeyPath]:
    """Of all keys below a node, those of data sets, transforms and schedules too."""
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*above, str(key))
        yield from _paths(item, (*above, str(key)))


def _check_key(path: KeyPath, value: Any, problems: Problems) -> None:
    """A key of the table, and those below it."""
    name = ".".join(path)
    key = TABLE.get(name, Key())
    if wanted := key.wanted(value):
        problems.wrong(path, value, wanted)
    elif name in CHECKS:
        CHECKS[name](value, problems)
    elif value is None:
        return  # switched off by -o KEY=null
    elif isinstance(key.kind, Entries):
        check_entries(path, value, key.kind.kind, problems)
    elif name in SECTIONS:
        check_section(name, value, problems)
    elif name in DATASET_KEYS:
        _check_dataset(name, value, problems)
    elif below := names_below(name):
        check_keys(path, value, below, lambda at, item: _check_key(at, item, problems), problems)


def _check_dataset(key: str, value: Any, problems: Problems) -> None:
    if not isinstance(value, Tagged):
        problems.add((key,), f"{key} needs a data set class, for example '{key}: !SteelDataSet {{…}}'.")
    elif value.tag in DATASETS:
        check_arguments((key,), DATASETS[value.tag], value, problems)
    else:
        problems.add((key,), f"{key}: {why_unknown(value.tag, 'data set')}")


def _check_folds(tree: Mapping[str, Any], problems: Problems) -> None:
    """Training on the rest of other folds than those of the evaluation would train on evaluated images."""
    first, second = (tree.get(key) for key in ("TrainDataset", "EvalDataset"))
    if isinstance(first, Tagged) and isinstance(first.get("labelled"), Tagged):
        first = first["labelled"]
    if not isinstance(first, Tagged) or not isinstance(second, Tagged) or first.tag != second.tag:
        return
    known = parameters_of(tags()[first.tag])[0]
    if not {"split", "fold", "num_folds", "part"} <= set(known):
        return
    defaults = {name: parameter.default for name, parameter in known.items()}
    train, evaluation = ({**defaults, **item} for item in (first, second))
    same = all(_normal(train[key]) == _normal(evaluation[key]) for key in ("dataset_dir", "anno_path"))
    if not same or (train["part"], evaluation["part"]) != ("train", "val"):
        return
    # Folds are dealt out by the numbers; without a fold, a file says who is in which part.
    keys = ["fold", "num_folds", "seed"] if train["split"] is None else ["fold", "num_folds"]
    for key in ("split", *([] if None in (train["fold"], evaluation["fold"]) else keys)):
        if train[key] != evaluation[key]:
            problems.add(
                ("EvalDataset", key),
                f"EvalDataset.{key} is {evaluation[key]}, but TrainDataset.{key} is {train[key]}: training would see the "
                f"images that are evaluated. Set both to the same {key}.",
            )


def _normal(path: Any) -> Any:
    return os.path.normpath(path) if isinstance(path, str) else path


def unused_sections(tree: Mapping[str, Any]) -> list[str]:
    """Sections of registered modules that the architecture, the optimizer and the schedule never come to."""
    known = modules()
    metrics = tree.get("metric")
    waiting = [
        tree.get("architecture"),
        "LearningRate",
        "OptimizerBuilder",
        *([metrics] if isinstance(metrics, str) else metrics if isinstance(metrics, list) else []),
    ]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if not isinstance(name, str) or name in reached or name not in known:
            continue
        reached.add(name)
        schema = known[name].schema.values()
        section = tree.get(name)
        values = {item.name: item.default for item in schema if item.has_default()}
        values |= section if isinstance(section, dict) else {}
        waiting += [value.get("name") if isinstance(value, dict) else value for value in values.values()]
    sections = [key for key in tree if key in known and key not in (*READERS, *DATASET_KEYS)]
    return [key for key in sections if key not in reached]


def left_behind(name: str, tree: Mapping[str, Any], stages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether an unused section is no mistake: a later file or an override took another part in its place.

    It was used, as it is, by the same architecture before. That sections of another architecture stay is worth saying.

    stages: what the tree was, each as far as it was merged.
    """
    same = (one for one in stages if one.get("architecture") == tree["architecture"] and name in one)
    return any(stage[name] == tree[name] and name not in unused_sections(stage) for stage in same)
