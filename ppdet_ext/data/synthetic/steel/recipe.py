"""Which defects a sheet shows: a function of (seed, index)."""

import numpy as np

from ppdet_ext.data.synthetic.base import PERIOD

# Sheets are planned in blocks of 16: 12 to train on and 4 held out. Each entry lists the classes of one
# sheet, () is a clean one: 5 of 16. Class 3 is the most frequent of a block, class 2 the rarest, and each
# part of a block has all classes.
TRAIN_PLAN: tuple[tuple[int, ...], ...] = (
    (), (), (), (), (3,), (3,), (3, 1), (3, 4), (3, 2), (1,), (4, 1), (4, 2),
)  # fmt: skip
VAL_PLAN: tuple[tuple[int, ...], ...] = ((), (3, 1), (3, 4), (3, 2))
BLOCK = len(TRAIN_PLAN) + len(VAL_PLAN)

# How many defects of a class a sheet of Kaggle's shape shows: lower and upper bound, both included.
COUNTS = {1: (2, 4), 2: (1, 3), 3: (1, 4), 4: (1, 2)}


def classes_of(seed: int, index: int) -> tuple[int, ...]:
    """Class ids (1–4) that sheet `index` of set `seed` shows; sheets of a block come in shuffled order."""
    block, offset = divmod(index, BLOCK)
    # The third key keeps this stream apart from that of the sheet [seed, index].
    rng = np.random.default_rng([seed, block, 1])
    train, val = rng.permutation(len(TRAIN_PLAN)), rng.permutation(len(VAL_PLAN))
    row, column = divmod(offset, PERIOD)
    if column == PERIOD - 1:
        return VAL_PLAN[val[row]]
    return TRAIN_PLAN[train[row * (PERIOD - 1) + column]]


def count_of(rng: np.random.Generator, class_id: int, height: int, width: int) -> int:
    """Number of defects of a class on a sheet; fewer, but one at least, on sheets narrower than 1600:256."""
    low, high = COUNTS[class_id]
    room = min(1.0, width / height / (1600 / 256))
    return max(1, round(int(rng.integers(low, high + 1)) * (0.5 + 0.5 * room)))
