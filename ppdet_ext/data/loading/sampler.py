"""The order of an epoch, as a function of (seed, epoch)."""

import numpy as np

# A word of the generator's seed that no (seed, epoch, index) triple of a sample has.
_ORDER = 1


class EpochSampler:
    """Cuts the images of an epoch into batches of keys (epoch, index), those of one rank.

    The order depends on (seed, epoch) alone. With `even`, as training in step demands, rank r takes every world_size-th
    image, starting with the r-th, and all ranks get the same number of them; the at most world_size - 1 images left over
    differ from epoch to epoch. Without it rank r takes every world_size-th batch, starting with the r-th, of those that a
    single rank would make: each image is in one batch of one rank, beside the same images whatever the number of ranks.
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
        """Image indices (size,) int64 of all ranks, in the epoch's order."""
        if self.shuffle:
            return np.random.default_rng([self.seed, epoch, 0, _ORDER]).permutation(self.size)
        return np.arange(self.size)

    def batches(self, epoch: int) -> list[list[tuple[int, int]]]:
        """The epoch's batches of this rank, each a list of (epoch, index)."""
        order = self.order(epoch)
        if self.even:
            order = order[: self.size - self.size % self.world_size][self.rank :: self.world_size]
        keys = [(epoch, int(index)) for index in order]
        batches = [keys[at : at + self.batch_size] for at in range(0, len(keys), self.batch_size)]
        if self.drop_last and batches and len(batches[-1]) < self.batch_size:
            batches.pop()
        return batches if self.even else batches[self.rank :: self.world_size]

    def __len__(self) -> int:
        """Number of batches in every epoch of this rank."""
        images = self.size // self.world_size if self.even else self.size
        batches = images // self.batch_size if self.drop_last else -(-images // self.batch_size)
        return batches if self.even else len(range(self.rank, batches, self.world_size))
