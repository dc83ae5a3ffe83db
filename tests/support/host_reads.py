"""How often the host asks a device for a tensor's values."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import paddle

# Each waits for the device. Nested ones (item calls numpy) count once. `nonzero` and `masked_select` wait for a number.
READS = ("numpy", "item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__array__")
WAITING = ("nonzero", "masked_select", "unique")


@contextmanager
def counted_reads() -> Iterator[list[str]]:
    """Collect the names of all reads within the block."""
    reads: list[str] = []
    inside = [False]

    def counting(name: str, original: Any) -> Any:
        @wraps(original)
        def read(*args: Any, **kwargs: Any) -> Any:
            if inside[0]:
                return original(*args, **kwargs)
            inside[0] = True
            reads.append(name)
            try:
                return original(*args, **kwargs)
            finally:
                inside[0] = False

        return read

    owners = [(paddle.Tensor, name) for name in READS + WAITING if hasattr(paddle.Tensor, name)]
    owners += [(paddle, name) for name in WAITING]
    before = [(owner, name, getattr(owner, name)) for owner, name in owners]
    for owner, name, original in before:
        setattr(owner, name, counting(name, original))
    try:
        yield reads
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)
