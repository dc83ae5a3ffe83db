"""The order of an epoch, as a function of (seed, epoch)."""

import numpy as np

# A word of the generator's seed that no (seed, epoch, index) triple of a sample has.
_ORDER = 1


class EpochSampler:
    """Cuts the images of an epoch into batches of keys (epoch, index).

    The order depends on (seed, epoch) alone; rank r takes every world_size-th image, starting with the r-th. With `even`
    all ranks get the same number of images, as training in step demands; the at most world_size - 1 images left over
    differ from epoch to epoch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        even: bool = True,
    ):
        self.size, self.batch_size = size, batch_size
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self.rank, self.world_size, self.even = rank, world_size, even

    def order(self, epoch: int) -> np.ndarray:
        """Image indices (m,) int64 of this rank, in their order."""
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch, 0, _ORDER]).permutation(self.size)
        else:
            order = np.arange(self.size)
        if self.even:
            order = order[: self.size - self.size % self.world_size]
        return order[self.rank :: self.world_size]

    def batches(self, epoch: int) -> list[list[tuple[int, int]]]:
        """The epoch's batches, each a list of (epoch, index)."""
        keys = [(epoch, int(index)) for index in self.order(epoch)]
        return [keys[at : at + self.batch_size] for at in range(0, len(self) * self.batch_size, self.batch_size)]

    def __len__(self) -> int:
        """Number of batches in every epoch of this rank."""
        per_rank = self.size // self.world_size
        if not self.even and self.rank < self.size % self.world_size:
            per_rank += 1
        return per_rank // self.batch_size if self.drop_last else -(-per_rank // self.batch_size)
