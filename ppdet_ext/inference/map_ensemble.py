"""Models that classify pixels, and others beside them, as one predictor: the mean of the probability maps of all views."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import paddle

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.structures import Candidates, TestSettings
from ppdet_ext.structures.probability_map import resize_maps

from .ensemble import WeightedMean
from .feature_passes import Member
from .protocol import Batch, Detector, MapDetector, PresenceDetector
from .views import ViewTransform


class _Members:
    """Models that are switched together, and the views of a picture that each sees, one at a time."""

    def __init__(self, members: Sequence[Member], settings: TestSettings | None) -> None:
        self.members = list(members)
        self.settings = settings or members[0].model.settings
        self.eval()

    @property
    def training(self) -> bool:
        """Whether the members are in training mode."""
        return self.members[0].model.training

    def eval(self) -> None:
        """All members to evaluation mode."""
        for member in self.members:
            member.model.eval()

    def train(self) -> None:
        """All members to training mode."""
        for member in self.members:
            member.model.train()

    def _views(self, sample: Sample) -> Iterator[tuple[Member, Batch, ViewTransform]]:
        for member in self.members:
            for index in range(len(member.views)):
                batch, transform = member.views.render(sample, index)
                yield member, {**batch, "image": paddle.to_tensor(batch["image"])}, transform


class MapEnsemble(_Members):
    """All views of all members as one model: the mean of their probability maps, in the original picture's pixels.

    A `MapDetector` gives the maps itself. Any other detector with masks gives those of `Candidates.class_maps`: the highest
    score · mask probability of the objects of a class, found by the member's own thresholds. Maps of a view are mirrored back
    and resized to the picture, then added up, so that memory is that of one view and of one sum, whatever their number.
    A single view of a single member gives what the model alone gives, to the last bit.

    Args:
        members: see there; at least one is a `MapDetector`.
        settings: of which the score threshold is used. None takes the first member's.
        power: the mean is the `power`-th root of the mean of the probabilities' `power`-th powers. 2 lets those prevail
            that are sure of something (Severstal's 55th place: better on the public board, worse on the private one than 1).

    Raises:
        UserError: the members do not fit together.
    """

    def __init__(self, members: Sequence[Member], settings: TestSettings | None = None, power: float = 1.0) -> None:
        self.num_classes = _checked_classes(members)
        if not (math.isfinite(power) and power > 0):
            raise UserError(f"EnsembleMean.power is {power}; give a number above 0, 1 for the plain mean.")
        super().__init__(members, settings)
        self.power = power

    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """Find the classes in the image of a batch of `ViewLoader`: one candidate each, with a map of the original picture.

        Raises:
            DivergenceError: an output is NaN or infinite; names the member.
        """
        sample: Sample = batch["sample"]
        maps, presence = self.mean(sample)
        return [Candidates.of_class_maps(maps, presence, settings.score_threshold)]

    @paddle.no_grad()
    def mean(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities (classes, height, width) float32 in a decoded picture, and of each class being there (classes,).

        The latter is the mean over those members that tell it; None where none does.
        """
        maps, presence = PowerMean(self.power), WeightedMean()
        told = False
        for member, batch, transform in self._views(sample):
            own, there = self._of_view(member, batch)
            own = np.ascontiguousarray(transform.unmirrored(own))
            maps.add(resize_maps(own, *sample.original_size), member.weight)
            if there is not None:
                presence.add(there, member.weight)
                told = True
        return maps.value.astype(np.float32), presence.value.astype(np.float32) if told else None

    def _of_view(self, member: Member, batch: Batch) -> tuple[np.ndarray, np.ndarray | None]:
        """Maps (classes, h, w) of a view, and presence (classes,) where the member tells it."""
        who = f"{member.name}: " if member.name else ""
        try:
            if isinstance(member.model, MapDetector):
                (maps,), there = maps_and_presence(member.model, batch)
            else:
                (found,) = member.model.candidates(batch, member.model.settings)
                maps, there = found.class_maps(self.num_classes), None
        except DivergenceError as error:
            raise DivergenceError(f"{who}{error}") from error
        if not np.isfinite(maps).all():
            raise DivergenceError(f"{who}class probabilities are NaN or infinite")
        return maps, None if there is None else there[0]


class PresenceEnsemble(_Members):
    """Classifiers of whole images as one: the mean of the probabilities that each view of each member gives a class.

    Args:
        members: `PresenceDetector`s of the same classes.
        settings: see `MapEnsemble`.
        key: of the configuration, for messages.

    Raises:
        UserError: the members do not fit together.
    """

    def __init__(self, members: Sequence[Member], settings: TestSettings | None = None, key: str = "Classifier") -> None:
        for number, member in enumerate(members):
            if not isinstance(member.model, PresenceDetector):
                raise UserError(
                    f"{_who(member, number, key)} is a {type(member.model).__name__}, which does not tell the classes of an "
                    "image; name an ImageClassifier, or a SemanticSegmentor with a classifier."
                )
            _check_alike(member, members[0], number, key)
        super().__init__(members, settings)
        self.num_classes = members[0].model.num_classes

    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """One candidate for each class, as large as the image of a batch of `ViewLoader`.

        Raises:
            DivergenceError: an output is NaN or infinite; names the member.
        """
        sample: Sample = batch["sample"]
        return [Candidates.of_presence(*sample.original_size, self.presence_in(sample))]

    @paddle.no_grad()
    def presence_in(self, sample: Sample) -> np.ndarray:
        """Probabilities (classes,) float32 that a class is in a decoded picture. DivergenceError as `candidates`."""
        mean = WeightedMean()
        for member, batch, _ in self._views(sample):
            probabilities = np.asarray(member.model.presence(batch), np.float32)[0]
            if not np.isfinite(probabilities).all():
                raise DivergenceError(f"{member.name}: class probabilities are NaN or infinite")
            mean.add(probabilities, member.weight)
        return mean.value.astype(np.float32)


class SoleDetector(_Members):
    """One view of one model of any kind, shown the pictures of `ViewLoader`: what it finds is what it finds by itself."""

    @paddle.no_grad()
    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """Find the objects in the image of the batch. DivergenceError where an output is NaN or infinite."""
        ((member, rendered, _),) = self._views(batch["sample"])
        return member.model.candidates(rendered, settings)


class PowerMean(WeightedMean):
    """`WeightedMean` of powers of numbers of [0, 1], and its root; of a single array that array, to the last bit."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self._power, self._count = power, 0
        self._only: np.ndarray | None = None

    def add(self, values: np.ndarray, weight: float = 1.0) -> None:
        """Arrays must be of one shape."""
        self._count += 1
        self._only = values if self._count == 1 else None
        super().add(values if self._power == 1 else values.astype(np.float64) ** self._power, weight)

    @property
    def value(self) -> np.ndarray:
        """ValueError where nothing was added."""
        if self._only is not None:
            return self._only
        return super().value if self._power == 1 else super().value ** (1 / self._power)


def maps_and_presence(model: MapDetector, batch: Batch) -> tuple[list[np.ndarray], np.ndarray | None]:
    """`class_maps` of a batch, and `presence` where the model has a head for that, computing features once if it can."""
    both = getattr(model, "maps_and_presence", None)
    return both(batch) if both is not None else (model.class_maps(batch), None)


def with_presence(found: Sequence[Candidates], presence: np.ndarray) -> list[Candidates]:
    """Candidates of images with what a classifier says of each."""
    return [replace(one, presence=presence) for one in found]


def _who(member: Member, number: int, key: str = "Ensemble") -> str:
    return f"{key} member {number + 1}{f' ({member.name})' if member.name else ''}"


def _checked_classes(members: Sequence[Member]) -> int:
    """The number of classes. UserError for members that have no maps, or others than the first."""
    if not members:
        raise UserError("An ensemble needs at least one member.")
    for number, member in enumerate(members):
        model = member.model
        if isinstance(model, PresenceDetector) and not isinstance(model, MapDetector):
            raise UserError(
                f"{_who(member, number)} is a {type(model).__name__}, which has no probability maps to average; name it under "
                "Classifier: {config: …, weights: …}."
            )
        if not isinstance(model, Detector) or getattr(model, "mask_cells", 1) is None:
            raise UserError(
                f"{_who(member, number)} is a {type(model).__name__} without masks, of which no probability maps can be made; "
                "leave it out, or give it masks (HTC: HTCRoIHead.with_mask)."
            )
        _check_alike(member, members[0], number)
    return next(member.model.num_classes for member in members if isinstance(member.model, MapDetector))


def _check_alike(member: Member, first: Member, number: int, key: str = "Ensemble") -> None:
    if not (math.isfinite(member.weight) and member.weight > 0):
        raise UserError(f"{_who(member, number, key)} has weight {member.weight}; give a number above 0, or leave it out.")
    # Detectors of ppdet do not say it; the configuration's number has been compared before.
    ours, theirs = (getattr(one.model, "num_classes", None) for one in (member, first))
    if None not in (ours, theirs) and ours != theirs:
        raise UserError(
            f"{_who(member, number, key)} has {ours} classes, the first one {theirs}; members must have learnt the same "
            "classes, in the same order. Leave it out, or train it on these classes."
        )
    if member.views.read.exif != first.views.read.exif:
        raise UserError(
            f"{_who(member, number, key)} reads pictures with another ReadImage.exif than the first; set it to the same value."
        )
