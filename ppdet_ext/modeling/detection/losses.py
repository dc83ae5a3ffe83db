"""The losses of a batch, as means over the samples of all ranks."""

import numpy as np
import paddle

from ppdet_ext.distributed import sum_over_ranks, world
from ppdet_ext.errors import DivergenceError

# Numbers that ranks exchange in a step, whatever the model: a rank that diverged does not know how many losses there would be.
_SLOTS = 64


class Losses(dict[str, paddle.Tensor]):
    """Scalar losses by name; each is a mean over a number of samples (anchors, regions, cells) of this rank's images.

    Attributes:
        counts: by name, the number of samples, maybe on a device; 0 where the loss is 0 for want of any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int | paddle.Tensor] = {}

    def add(self, name: str, mean: paddle.Tensor, count: int | paddle.Tensor) -> None:
        """Put in a loss that is the mean over `count` samples."""
        self[name], self.counts[name] = mean, count

    def update(self, other: "Losses") -> None:  # type: ignore[override]  # only losses bring their counts
        """Put in the other's losses."""
        super().update(other)
        self.counts.update(other.counts)

    def over_ranks(self) -> "Losses":
        """Losses whose mean over ranks is the mean over the samples of all ranks, as if one rank had had the whole batch.

        DataParallel takes the mean of the ranks' gradients: few samples of one rank would weigh as much as many of another.
        On one rank these are the losses themselves. All ranks call this, or `withdraw`, once a step.

        Raises:
            DivergenceError: another rank withdrew.
            RankError: another rank is gone, or elsewhere in the program.
        """
        if world()[1] == 1:
            return self
        own = self._numbers()
        mean = _mean_over_ranks(own)
        if np.isnan(mean).any():
            raise DivergenceError("the output of a layer is not finite on another rank")
        out = Losses()
        for (name, loss), count, average in zip(self.items(), own, mean):
            out.add(name, loss * float(count / average) if average else loss, int(count))
        return out

    def _numbers(self) -> np.ndarray:
        """The counts as float64; those on a device in one read."""
        there = [count.astype("float32").reshape([]) for count in self.counts.values() if isinstance(count, paddle.Tensor)]
        read = iter(paddle.stack(there).numpy().tolist() if there else [])
        return np.array([next(read) if isinstance(c, paddle.Tensor) else c for c in self.counts.values()], np.float64)


def withdraw() -> None:
    """In place of `Losses.over_ranks` on a rank that has none, so that the others raise as well instead of waiting for it."""
    if world()[1] > 1:
        _mean_over_ranks(np.full(_SLOTS, np.nan))


def _mean_over_ranks(values: np.ndarray) -> np.ndarray:
    """Mean of each of the float64 `values` (n,), n <= _SLOTS; one exchange."""
    padded = np.zeros(_SLOTS)
    padded[: len(values)] = values
    return sum_over_ranks(padded)[: len(values)] / world()[1]
