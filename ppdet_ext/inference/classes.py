"""Names and category ids of a configuration's classes: from the data sets, from its weights, or invented."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ppdet_ext.config.keys import ENSEMBLE
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.weights.files.class_names import Classes
from ppdet_ext.weights.find import stored_classes

KEYS = ("EvalDataset", "TrainDataset", "TestDataset")
logger = logging.getLogger("ppdet_ext")


def class_list(cfg: Config, weights_first: bool = False) -> tuple[list[str], list[int], bool]:
    """Class names and category ids of the model, and whether the ids are invented.

    From the data sets, else from the weights, else 'class 1', 1 and so on. Weights of mmdetection bring names without ids.

    weights_first: read no data set where the weights tell names and ids.
    """
    if weights_first and (stored := _stored(cfg)) is not None and stored.ids:
        return list(stored.names), list(stored.ids), False
    for key in KEYS:
        dataset: Any = cfg.get(key)
        if dataset is None:
            continue
        try:
            if dataset.num_classes != cfg.num_classes:
                dataset.load()
        except UserError as error:
            logger.info("Class names are not to be had from %s: %s", key, str(error).splitlines()[0])
            continue
        if dataset.num_classes == cfg.num_classes:
            return [str(name) for name in dataset.class_names], list(dataset.category_ids), False
    numbers = list(range(1, cfg.num_classes + 1))
    stored = _stored(cfg)
    if stored is not None:
        return list(stored.names), list(stored.ids) or numbers, not stored.ids
    logger.warning("Neither annotations nor weights tell the names of the classes: they are called class 1, class 2 and so on")
    return [f"class {number}" for number in numbers], numbers, True


def one_mask_a_class(cfg: Config) -> bool:
    """Whether objects of a class in one image are one for the model: it classifies pixels, and no step takes them apart."""
    steps = cfg.get("PostProcess") or ()
    return cfg.architecture == "SemanticSegmentor" and not any("Components" in step for step in steps)


def _stored(cfg: Config) -> Classes | None:
    """Those of the (first) weights; None if these know none, or are of another number of classes."""
    entries = cfg.get(ENSEMBLE) or [cfg.weights]
    path = entries[0]["weights"] if isinstance(entries[0], Mapping) else entries[0]
    try:
        stored = stored_classes(path) if path else None
    except UserError:
        # Whoever loads them says so; not everybody who asks for names does.
        return None
    return stored if stored is not None and len(stored.names) == cfg.num_classes else None


def compare_classes(data: Sequence[str], other: Sequence[str], whose: str, whose_data: str = "the data set") -> None:
    """Say so if two lists hold other class names; the same ones in another order are matched by whoever knows them.

    Args:
        data: names of the data set, by label.
        other: names that something else has; nothing is compared where there are none.
        whose: the latter.
        whose_data: the data set.
    """
    if data and other and sorted(data) != sorted(other):
        lists = f"{whose}: {', '.join(other)}; {whose_data}: {', '.join(data)}"
        logger.warning("Classes of other names. %s. They are taken for the same, label by label", lists)


def names_without_reading(cfg: Config) -> list[str]:
    """Class names of the first data set that tells them without its annotations being read; else none."""
    for key in KEYS:
        try:
            names = getattr(cfg.get(key), "class_names", None)
        except UserError:
            continue
        if names:
            return [str(name) for name in names]
    return []
