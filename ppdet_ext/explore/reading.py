"""The data sets of a configuration read for looking at: faults do not end it, they are part of what is found."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppdet_ext.data.datasets import MixedDataSet
from ppdet_ext.data.formats.numbering import NumberingError
from ppdet_ext.data.loading.build import prepare_sample
from ppdet_ext.data.problems import SHOWN
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.structures import Record

from .schema import Problem

logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class Part:
    """A data set of a configuration, read. name: train, eval, test. source: its files, in words.

    records: with labels of `class_names` of all parts. class_names: its own. adjustable: its keys, and where the
    configuration has each: {"on_error": ["TrainDataset.on_error"]}.
    problems: faults that were left out.
    """

    name: str
    source: str
    records: Sequence[Record]
    class_names: Sequence[str]
    annotated: bool
    adjustable: Mapping[str, Sequence[str]]
    problems: Sequence[Problem]


def read_parts(cfg: Config, parts: Sequence[str], required: bool = True) -> tuple[list[Part], list[str]]:
    """The data sets of these parts, and the names of all classes: those of the first, then what others have more.

    required: whether one that the configuration does not have is an error; otherwise it is left out.

    Raises: UserError for what cannot be read.
    """
    prepare_sample(cfg)
    read = [part for part in (_read(cfg, name, required) for name in parts) if part is not None]
    if not read:
        raise UserError(f"The configuration has none of the data sets {', '.join(map(key_of, parts))}.")
    names = list(dict.fromkeys(str(name) for part in read for name in part.class_names)) or ["object"]
    return [_labelled(part, names) for part in read], names


def key_of(part: str) -> str:
    """train -> TrainDataset."""
    return f"{part.capitalize()}Dataset"


def _read(cfg: Config, name: str, required: bool) -> Part | None:
    key = key_of(name)
    if cfg.get(key) is None:
        if required:
            raise UserError(
                f"The configuration has no {key}; take another --part, or give one, as '{key}: !SteelDataSet {{…}}'."
            )
        return None
    dataset = _lenient(cfg[key])
    adjustable: dict[str, list[str]] = {}
    for path, own in _inside(key, dataset):
        _load(path, own)
        for word in vars(own):
            adjustable.setdefault(word, []).append(f"{path}.{word}")
    return Part(
        name,
        ", ".join(_source(own) for _, own in _inside(key, dataset)),
        dataset.records,
        [str(word) for word in dataset.class_names],
        bool(dataset.annotated),
        adjustable,
        [problem for _, own in _inside(key, dataset) for problem in _problems(own, name)],
    )


def _load(path: str, dataset: Any) -> None:
    """Read a data set that is configured at `path`. Raises: UserError, also with what to give after -o."""
    try:
        dataset.load()
    except NumberingError as error:
        options = " ".join(f"{path}.{word.replace(': ', '=')}" for word in error.keys.split(", "))
        raise UserError(f"{error} Here: -o {options}") from error


def _source(dataset: Any) -> str:
    """Its files, in words."""
    place = [str(getattr(dataset, word)) for word in ("dataset_dir", "anno_path") if getattr(dataset, word, None)]
    return "/".join(place) or str(getattr(dataset, "images", type(dataset).__name__))


def _lenient(dataset: Any) -> Any:
    """An unread copy that leaves faulty annotations out in place of refusing all."""
    own = copy.copy(dataset)
    vars(own)["_records"] = None
    if isinstance(own, MixedDataSet):
        own.labelled, own.pseudo = _lenient(own.labelled), _lenient(own.pseudo)
    elif "on_error" in vars(own):
        own.on_error = "skip"
    return own


def _inside(key: str, dataset: Any) -> Iterator[tuple[str, Any]]:
    """Where in the configuration a data set is, and itself; of a mix its two parts."""
    if isinstance(dataset, MixedDataSet):
        yield from ((f"{key}.{word}", getattr(dataset, word)) for word in ("labelled", "pseudo"))
    else:
        yield key, dataset


def _problems(dataset: Any, part: str) -> Iterator[Problem]:
    if dataset.problems is None:
        return
    for kind, details in sorted(dataset.problems.found.items()):
        yield Problem(part, kind, len(details), details[:SHOWN], dataset.problems.remedies.get(kind, ""))


def _labelled(part: Part, names: Sequence[str]) -> Part:
    """The part with labels of `names`; of equal names within it, the first."""
    own = [str(name) for name in part.class_names]
    if own == list(names[: len(own)]):
        return part
    number = {name: label for label, name in reversed(list(enumerate(names)))}
    label_of = np.array([number[name] for name in own], np.int64)
    return replace(part, records=[replace(record, labels=label_of[record.labels]) for record in part.records])
