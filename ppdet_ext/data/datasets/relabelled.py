"""A data set seen with the labels of another one, whose classes have the same names in another order."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Record

from .base import InstanceDataSet

logger = logging.getLogger("ppdet_ext")


class Relabelled(InstanceDataSet):
    """A read data set with its classes in another order: records, names and ids; all else is the data set's.

    Args:
        dataset: of these class names, each once.
        names: in the order wanted.
    """

    def __init__(self, dataset: InstanceDataSet, names: Sequence[str]) -> None:
        super().__init__()
        own = list(dataset.class_names)
        self._dataset = dataset
        self.class_names = list(names)
        self.category_ids = [dataset.category_ids[own.index(name)] for name in names]
        self._label_of = np.array([self.class_names.index(name) for name in own], np.int64)

    def __getattr__(self, name: str) -> Any:
        # Only what is not found here; before `_dataset` is set, as in unpickling, that is nothing.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._dataset, name)

    @property
    def annotated(self) -> bool:
        return self._dataset.annotated

    @property
    def account(self) -> str:
        return self._dataset.account

    def _read(self) -> list[Record]:
        return [replace(record, labels=self._label_of[record.labels]) for record in self._dataset.records]


def labelled_as(dataset: Any, names: Sequence[str], whose: str, whose_data: str) -> Any:
    """A read data set whose labels are those of `names`, if its classes have these names in another order; else itself.

    Raises: UserError where a name stands twice.
    """
    own = [str(name) for name in dataset.class_names]
    if own == list(names) or sorted(own) != sorted(names):
        return dataset
    lists = f"{whose}: {', '.join(names)}; {whose_data}: {', '.join(own)}"
    if len({*own}) < len(own):
        raise UserError(
            f"Classes in another order. {lists}. They cannot be matched by name, for a name stands twice: give the categories "
            "of both annotation files the same ids."
        )
    logger.warning("Classes in another order. %s. They are matched by name: labels are those of %s", lists, whose)
    return Relabelled(dataset, names)
