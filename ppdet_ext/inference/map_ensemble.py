"""Models that classify pixels, and others beside them, as one predictor: the mean of the probability maps of all views."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import paddle

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.distributed import interrupt
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.structures import Candidates, TestSettings
from ppdet_ext.structures.probability_map import resize_maps

from .ensemble import WeightedMean
from .feature_passes import Member
from .protocol import Batch, Detector, MapDetector, PresenceDetector
from .stored_member import StoredMember
from .views import ViewTransform

AnyMember = Member | StoredMember


class _Members:
    """Models that are switched together; those that are stored are in evaluation mode always."""

    def __init__(self, members: Sequence[AnyMember], settings: TestSettings | None) -> None:
        self.members = list(members)
        self.settings = settings or members[0].model.settings
        self._models = [member.model for member in members if isinstance(member, Member)]
        self.eval()

    @property
    def training(self) -> bool:
        """Whether members are in training mode."""
        return any(model.training for model in self._models)

    def eval(self) -> None:
        """All members to evaluation mode."""
        for model in self._models:
            model.eval()

    def train(self) -> None:
        """All members to training mode, but for those that are stored."""
        for model in self._models:
            model.train()


class MapEnsemble(_Members):
    """All views of all members as one model: the mean of their probability maps, in the original picture's pixels.

    A `MapDetector` gives the maps itself. Any other detector with masks gives those of `Candidates.class_maps`: the highest
    score · mask probability of the objects of a class, found by the member's own thresholds. Maps of a view are mirrored back
    and resized to the picture, then added up: memory is that of one view and of a sum for each picture of the batch, whatever
    the number of views and members. One member after the other sees all pictures of a batch, so that where members are stored,
    one model is in memory. A single view of a single member gives what the model alone gives, to the last bit.

    Args:
        members: see there; at least one is a `MapDetector`.
        settings: of which the score threshold is used. None takes the first member's.
        power: the mean is the `power`-th root of the mean of the probabilities' `power`-th powers. 2 lets those prevail
            that are sure of something (Severstal's 55th place: better on the public board, worse on the private one than 1).

    Raises:
        UserError: the members do not fit together.
    """

    def __init__(self, members: Sequence[AnyMember], settings: TestSettings | None = None, power: float = 1.0) -> None:
        if not (math.isfinite(power) and power > 0):
            raise UserError(f"EnsembleMean.power is {power}; give a number above 0, 1 for the plain mean.")
        if not members:
            raise UserError("An ensemble needs at least one member.")
        self.num_classes = _common_classes(members, [_classes_of_maps(member, number) for number, member in enumerate(members)])
        super().__init__(members, settings)
        self.power = power

    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """Find the classes in the images of a batch of `ViewLoader`: one candidate each, with a map of the original picture.

        Raises:
            DivergenceError: an output is NaN or infinite; names the member.
        """
        above = settings.score_threshold
        return [Candidates.of_class_maps(maps, presence, above) for maps, presence in self.means(pictures_of(batch))]

    @paddle.no_grad()
    def means(self, samples: Sequence[Sample]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Of each decoded picture probabilities (classes, height, width) float32, and that a class is there (classes,).

        The latter is the mean over those members that tell it; None where none does.
        """
        sums = [(PowerMean(self.power), WeightedMean()) for _ in samples]
        for member in self.members:
            for sample, (maps, presence) in zip(samples, sums):
                interrupt.check()  # a batch of many pictures and members may take minutes
                for batch, transform in _views(member, sample):
                    own, there = self._of_view(member, batch, sample.name)
                    own = np.ascontiguousarray(transform.unmirrored(own))
                    maps.add(resize_maps(own, *sample.original_size), member.weight)
                    if there is not None:
                        presence.add(there, member.weight)
        while sums:
            maps, presence = sums.pop(0)
            yield maps.value.astype(np.float32), presence.value.astype(np.float32) if presence else None

    def _of_view(self, member: AnyMember, batch: Batch, image: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Maps (classes, h, w) of a view, and presence (classes,) where the member tells it."""
        who, model = ", ".join(filter(None, (member.name, image))), member.model
        try:
            if isinstance(model, MapDetector):
                (maps,), there = maps_and_presence(model, batch)
            else:
                (found,) = model.candidates(batch, model.settings)
                maps, there = found.class_maps(self.num_classes), None
        except DivergenceError as error:
            raise DivergenceError(f"{who}: {error}") from error
        if not np.isfinite(maps).all():
            raise DivergenceError(f"{who}: class probabilities are NaN or infinite")
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
                    f"{_who(member, number, key)} is {type(member.model).__name__}, which does not tell the classes of an "
                    "image; name an ImageClassifier, or a SemanticSegmentor with a classifier."
                )
        self.num_classes = _common_classes(members, [member.model.num_classes for member in members], key)
        super().__init__(members, settings)

    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """One candidate for each class, as large as the image, of each image of a batch of `ViewLoader`.

        Raises:
            DivergenceError: an output is NaN or infinite; names the member.
        """
        return [Candidates.of_presence(*one.original_size, self.presence_in(one)) for one in pictures_of(batch)]

    @paddle.no_grad()
    def presence_in(self, sample: Sample) -> np.ndarray:
        """Probabilities (classes,) float32 that a class is in a decoded picture. DivergenceError as `candidates`."""
        mean = WeightedMean()
        for member in self.members:
            model = member.model
            assert isinstance(model, PresenceDetector)
            for batch, _ in _views(member, sample):
                probabilities = np.asarray(model.presence(batch), np.float32)[0]
                if not np.isfinite(probabilities).all():
                    raise DivergenceError(f"{member.name}: class probabilities are NaN or infinite")
                mean.add(probabilities, member.weight)
        return mean.value.astype(np.float32)


class SoleDetector(_Members):
    """One view of one model of any kind, shown the pictures of `ViewLoader`: what it finds is what it finds by itself."""

    @paddle.no_grad()
    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """Find the objects in the images of a batch. DivergenceError where an output is NaN or infinite."""
        found: list[Candidates] = []
        member = self.members[0]
        for sample in pictures_of(batch):
            ((rendered, _),) = _views(member, sample)
            found += member.model.candidates(rendered, settings)
        return found


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


def pictures_of(batch: Batch) -> list[Sample]:
    """The decoded pictures of a batch of `ViewLoader`."""
    return list(batch["samples"]) if "samples" in batch else [batch["sample"]]


def with_presence(found: Sequence[Candidates], batch: Batch, classifier: PresenceEnsemble) -> list[Candidates]:
    """Candidates of the images of a batch of `ViewLoader` with what a classifier says of each."""
    return [replace(one, presence=classifier.presence_in(sample)) for one, sample in zip(found, pictures_of(batch))]


def _views(member: AnyMember, sample: Sample) -> Iterator[tuple[Batch, ViewTransform]]:
    """What a member sees of a picture, one view at a time."""
    for index in range(len(member.views)):
        batch, transform = member.views.render(sample, index)
        yield {**batch, "image": paddle.to_tensor(batch["image"])}, transform


def _who(member: AnyMember, number: int, key: str = "Ensemble") -> str:
    return f"{key} member {number + 1}{f' ({member.name})' if member.name else ''}"


def _classes_of_maps(member: AnyMember, number: int) -> int | None:
    """The number of classes; detectors of ppdet do not say it. UserError where no maps can be made of what the model finds."""
    model = member.model
    if isinstance(model, PresenceDetector) and not isinstance(model, MapDetector):
        raise UserError(
            f"{_who(member, number)} is {type(model).__name__}, which has no probability maps to average; name it under "
            "Classifier: {config: …, weights: …}."
        )
    if not isinstance(model, Detector) or getattr(model, "mask_cells", 1) is None:
        raise UserError(
            f"{_who(member, number)} is {type(model).__name__} without masks, of which no probability maps can be made; "
            "leave it out, or give it masks (HTC: HTCRoIHead.with_mask)."
        )
    return getattr(model, "num_classes", None)


def _common_classes(members: Sequence[AnyMember], classes: Sequence[int | None], key: str = "Ensemble") -> int:
    """The number of classes. UserError for members that differ in it, in how they read pictures, or have no weight."""
    common = next((own for own in classes if own is not None), None)
    if common is None:
        raise UserError(f"{key}: no member tells how many classes it has.")
    for number, (member, own) in enumerate(zip(members, classes)):
        if not (math.isfinite(member.weight) and member.weight > 0):
            raise UserError(f"{_who(member, number, key)} has weight {member.weight}; give a number above 0, or leave it out.")
        # Of those that do not say it the configuration's number has been compared before.
        if own not in (None, common):
            raise UserError(
                f"{_who(member, number, key)} has {own} classes, those before it {common}; members must have learnt the same "
                "classes, in the same order. Leave it out, or train it on these classes."
            )
        if member.views.read.reading != members[0].views.read.reading:
            raise UserError(
                f"{_who(member, number, key)} reads pictures with another ReadImage.exif or range than the first; set them "
                "to the same values."
            )
    return common
