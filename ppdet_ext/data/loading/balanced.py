"""Epochs of which classes, images without objects and pseudo-labelled images have a chosen share, evenly over the batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.data.splits.stratify import indicator
from ppdet_ext.errors import UserError, counted, nearest
from ppdet_ext.host.registry import number_in, whole_number_in

from .sampler import EpochSampler

# A word of the generator's seed that no order of an `EpochSampler` and no sample has.
_DRAW = 2

logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class SamplerSpec:
    """What `TrainReader.sampler` says: the make-up of an epoch.

    Each image is of one stratum: that of the rarest class it shows, or, without an object (a crowd is none), "no object".

    Attributes:
        balance: 0: strata are as large as in the data set; 1: all alike, so that every class comes as often as the most
            frequent one; between them and beyond in proportion (`alpha` of khornlund/severstal-steel-defect-detection, whose
            -0.15 is of two strata, labelled and pseudo-labelled images; here that is pseudo_ratio: 0.12).
        empty_ratio: share of images without an object among all images of an epoch, in [0, 1); None: a stratum as the others.
        pseudo_ratio: share of the pseudo-labelled images of a `!MixedDataSet`, in [0, 1), of all images and, up to rounding,
            of each batch; they are then a stratum of their own. None: as any other image.
        images: of an epoch; None: as many as the data set has.

    Raises: UserError naming the key that is out of range.
    """

    balance: float = 0.0
    empty_ratio: float | None = None
    pseudo_ratio: float | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        number_in(self.balance, "sampler.balance", -1, 1)
        for name in ("empty_ratio", "pseudo_ratio"):
            if getattr(self, name) is not None and number_in(getattr(self, name), f"sampler.{name}", 0, 1) == 1:
                raise UserError(f"sampler.{name}: 1 leaves nothing for other images; it is less than 1.")
        if (self.empty_ratio or 0) + (self.pseudo_ratio or 0) >= 1:
            raise UserError(
                "sampler: empty_ratio and pseudo_ratio leave nothing for labelled objects; their sum is less than 1."
            )
        if self.images is not None:
            whole_number_in(self.images, "sampler.images", 1)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SamplerSpec:
        """From the section's keys. Raises: UserError naming an unknown one, too."""
        known = [field.name for field in fields(cls)]
        if unknown := next((key for key in options if key not in known), None):
            raise UserError(f"sampler: unknown key {unknown}.{nearest(unknown, known)} There are {', '.join(known)}.")
        return cls(**options)


@dataclass(frozen=True)
class Stratum:
    """Images that are drawn alike.

    name: for the log. members: (m,) int64 image indices, one at least unless nothing is drawn. drawn: images in an epoch.
    """

    name: str
    members: np.ndarray
    drawn: int

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(drawn,) int64 members in random order; none comes once more before all others have come as often."""
        rounds = -(-self.drawn // max(len(self.members), 1))
        return np.concatenate([self.members[:0], *(rng.permutation(self.members) for _ in range(rounds))])[: self.drawn]


@dataclass(frozen=True)
class Strata:
    """The strata of a data set. pseudo, empty: None where they are no strata of their own but among the others."""

    others: list[Stratum]
    empty: Stratum | None = None
    pseudo: Stratum | None = None

    def __iter__(self) -> Iterator[Stratum]:
        yield from self.others
        yield from (stratum for stratum in (self.empty, self.pseudo) if stratum is not None)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Image indices of an epoch, with repetitions; each piece has as even a share of a stratum as whole images allow."""
        found = interleave([stratum.draw(rng) for stratum in self.others], rng)
        # Two parts at a time: then any two pieces of one length differ by at most one image of either.
        for part in (self.empty, self.pseudo):
            if part is not None:
                found = interleave([found, part.draw(rng)], rng)
        return found


def interleave(parts: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """All of the parts as one; each keeps its order and is spread evenly, from a random offset on."""
    offsets = rng.random(len(parts))
    times = np.concatenate([(np.arange(len(part)) + offset) / max(len(part), 1) for part, offset in zip(parts, offsets)])
    return np.concatenate(parts)[np.argsort(times, kind="stable")]


class BalancedSampler(EpochSampler):
    """`EpochSampler` of an epoch made up of strata, for training. It depends on (seed, epoch) alone.

    `size` is the number of images of an epoch. Consecutive pieces of the drawn order become the batches: the first is rank
    0's first batch, the second rank 1's, and so on, so that each has its share of each stratum. A run that goes on with
    other batches or ranks after n images has the rest of the same draw before it.

    An image that comes again in an epoch has its index plus `images`, the number of images of the data set, then plus twice
    that, and so on: `BatchMaker` finds the image, and changes it in another way each time.
    """

    def __init__(
        self, strata: Strata, images: int, batch_size: int, drop_last: bool, seed: int, rank: int = 0, world_size: int = 1
    ):
        self.strata, self.images = strata, images
        super().__init__(sum(one.drawn for one in strata), batch_size, True, drop_last, seed, rank, world_size)

    def order(self, epoch: int) -> np.ndarray:
        drawn = self.strata.order(np.random.default_rng([self.seed, epoch, 0, _DRAW]))
        drawn = drawn + self.images * repetitions(drawn)
        # Rank r takes every world_size-th image from the r-th on, so pieces are dealt out in the way of a transposition.
        whole = self.size - self.size % (self.batch_size * self.world_size)
        steps = drawn[:whole].reshape(-1, self.world_size, self.batch_size)
        return np.concatenate([steps.transpose(0, 2, 1).reshape(-1), drawn[whole:]])


def repetitions(indices: np.ndarray) -> np.ndarray:
    """(n,) int64: how often each has come before its place."""
    order = np.argsort(indices, kind="stable")
    grouped = indices[order]
    # Where a group of equal ones begins, in sorted order; all of it counts from there.
    first = np.searchsorted(grouped, grouped)
    found = np.empty(len(indices), np.int64)
    found[order] = np.arange(len(indices)) - first
    return found


def balanced_sampler(
    dataset: InstanceDataSet,
    spec: SamplerSpec,
    batch_size: int,
    drop_last: bool,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
) -> BalancedSampler:
    """The sampler of a data set that has been read; logs what an epoch is made of.

    Raises: UserError for a share of images that the data set has none of, or a `balance` that leaves a class none.
    """
    records = dataset.records
    present = indicator([record.labels[~record.crowd].tolist() for record in records], dataset.num_classes)
    strata = strata_of(present, spec, dataset.class_names, getattr(dataset, "first_pseudo", len(records)))
    sampler = BalancedSampler(strata, len(records), batch_size, drop_last, seed, rank, world_size)
    if rank == 0:
        logger.info("%s", describe(strata, present, dataset.class_names))
    return sampler


def strata_of(present: np.ndarray, spec: SamplerSpec, class_names: Sequence[str], first_pseudo: int) -> Strata:
    """Strata of a data set, and how much is drawn of each.

    Args:
        present: (n, classes + 1) bool, of `indicator`.
        class_names: by label.
        first_pseudo: index of the first pseudo-labelled image; n of a data set without any.

    Raises: UserError as `balanced_sampler`.
    """
    total = spec.images if spec.images is not None else len(present)
    # The rarest class that an image shows; "no object", the last column, never goes with another one.
    frequency = np.where(present, present.sum(axis=0), len(present) + 1)
    stratum = frequency.argmin(axis=1)
    names = [*class_names, "no object"]
    own = np.ones(len(present), bool)
    pseudo = empty = None
    if spec.pseudo_ratio is not None:
        own[first_pseudo:] = False
        pseudo = _part("pseudo-labelled", np.flatnonzero(~own), spec.pseudo_ratio, total, "pseudo_ratio")
    if spec.empty_ratio is not None:
        empty = _part("no object", np.flatnonzero(own & present[:, -1]), spec.empty_ratio, total, "empty_ratio")
        own &= ~present[:, -1]
    members = {name: np.flatnonzero(own & (stratum == label)) for label, name in enumerate(names)}
    members = {name: found for name, found in members.items() if len(found)}
    if not members:
        raise UserError("sampler: the data set has no images but those of empty_ratio and pseudo_ratio.")
    rest = total - sum(part.drawn for part in (pseudo, empty) if part is not None)
    drawn = _whole(_weights([len(found) for found in members.values()], spec.balance, list(members)), rest)
    return Strata([Stratum(*item, number) for item, number in zip(members.items(), drawn)], empty, pseudo)


def _part(name: str, members: np.ndarray, ratio: float, total: int, key: str) -> Stratum:
    drawn = round(ratio * total)
    if drawn and not len(members):
        kind, remedy = {
            "empty_ratio": ("image without an object", "set allow_empty: true in it"),
            "pseudo_ratio": ("pseudo-labelled image", "take a !MixedDataSet whose `pseudo` has some"),
        }[key]
        raise UserError(f"sampler.{key}: {ratio}, but the data set has no {kind}; {remedy}, or leave {key} out.")
    return Stratum(name, members, drawn)


def _weights(sizes: Sequence[int], balance: float, names: Sequence[str]) -> np.ndarray:
    """(strata,) float64 shares of what is drawn: a mix of the strata's sizes and equal shares."""
    population = np.array(sizes) / sum(sizes)
    weights = balance / len(sizes) + (1 - balance) * population
    if (weights <= 0).any():
        raise UserError(
            f"sampler.balance: {balance} leaves nothing of {names[int(weights.argmin())]}, which has "
            f"{counted(int(np.min(sizes)), 'images')} of {sum(sizes)}; take a value nearer to 0."
        )
    return weights


def _whole(weights: np.ndarray, total: int) -> list[int]:
    """Whole numbers that sum up to `total`, nearest to these shares of it (largest remainders)."""
    exact = weights / weights.sum() * total
    found = np.floor(exact).astype(int)
    found[np.argsort(found - exact, kind="stable")[: total - found.sum()]] += 1
    return found.tolist()


def describe(strata: Strata, present: np.ndarray, class_names: Sequence[str]) -> str:
    """A table of the strata, and how many images of an epoch show each class, which may be of another one's stratum."""
    rows = [("stratum", "images", "drawn", "each")]
    shown = np.zeros(present.shape[1])
    for one in strata:
        size = max(len(one.members), 1)
        rows.append((one.name, str(len(one.members)), str(one.drawn), f"x{one.drawn / size:.2f}"))
        shown += one.drawn * present[one.members].sum(axis=0) / size
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]) for row in rows
    ]
    expected = ", ".join(f"{name} {number:.0f}" for name, number in zip(class_names, shown))
    head = f"sampler: {counted(sum(one.drawn for one in strata), 'images')} in an epoch, drawn by the rarest class they show"
    return "\n".join([head, *(f"  {line}" for line in lines), f"  images of an epoch that show a class: {expected}"])
