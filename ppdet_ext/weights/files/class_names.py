"""Class names that travel with the weights: one entry more in a `.pdparams`, the `meta` of mmdetection's files.

The entry is text in a tensor of bytes, so that whatever loads tensors by their names, PaddleDetection too, passes over it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .opening import Refused, all_of

CLASSES = "ClassNames@@"
LONGEST = 1 << 20


@dataclass(frozen=True)
class Classes:
    """What the outputs of a model mean.

    Args:
        names: by label.
        ids: category ids in the annotations, by label; none where nobody knows them.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, dataset: Any) -> "Classes | None":
        """Those of a read data set, None if it knows none."""
        names = tuple(str(name) for name in dataset.class_names)
        return cls(names, tuple(int(number) for number in dataset.category_ids)) if names else None


def class_entry(classes: Classes | None) -> dict[str, np.ndarray]:
    """The entry of a state_dict: JSON {"names": …, "ids": …} in UTF-8, as uint8; nothing where there are no names."""
    if classes is None:
        return {}
    text = json.dumps({"names": classes.names, "ids": classes.ids}, ensure_ascii=False)
    # A file's name that is no text may have become a class's.
    return {CLASSES: np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).copy()}


def classes_in_entry(value: Any) -> Classes:
    """What `class_entry` has written. Refused if it is something else."""
    try:
        if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 1 or value.size > LONGEST:
            raise ValueError("no text")
        content = json.loads(value.tobytes().decode("utf-8", "surrogatepass"))
        names, ids = content["names"], content["ids"]
        if not all_of(names, str) or not all_of(ids, int) or len(ids) not in (0, len(names)):
            raise ValueError("no names with numbers")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refused(f"its {CLASSES} holds no class names ({type(error).__name__})") from error
    return Classes(tuple(names), tuple(ids))


def classes_in_meta(meta: Any) -> Classes | None:
    """Those of `meta` in a checkpoint: `CLASSES` of mmdetection 2, `dataset_meta` of 3; None if there are none."""
    inner = meta.get("dataset_meta") if isinstance(meta, dict) else None
    for holder in (inner, meta):
        for key in ("classes", "CLASSES"):
            names = holder.get(key) if isinstance(holder, dict) else None
            if names and all_of(names, str):
                return Classes(tuple(names))
    return None


def meta_of(names: Sequence[str]) -> dict[str, Any]:
    """`meta` for mmdetection 2 and 3; nothing where there are no names."""
    return {} if not names else {"CLASSES": list(names), "dataset_meta": {"classes": list(names)}}
