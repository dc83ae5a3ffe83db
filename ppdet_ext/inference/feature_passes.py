"""The features of every (member, view) of an image in turn, one at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import paddle

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import DivergenceError

from .protocol import AveragedDetector, Detector
from .views import Views

Result = TypeVar("Result")
Model = TypeVar("Model", bound=Detector)


@dataclass(frozen=True)
class Member(Generic[Model]):
    """A model of an ensemble with its weights loaded, and the views it sees.

    Attributes:
        model: the detector.
        views: by its own reader.
        weight: of each of its views in all averages; proposals have none.
        name: for messages, such as the path of its weights.
    """

    model: Model
    views: Views
    weight: float = 1.0
    name: str = ""


class ViewFeatures:
    """One member's features of one view.

    Attributes:
        index: of the (member, view).
        member: whose features these are.
        transform: where the view lies on the picture.
        features: what the member's model takes for them.
    """

    def __init__(self, index: int, member: Member[AveragedDetector], sample: Sample, view: int) -> None:
        batch, self.transform = member.views.render(sample, view)
        self.index, self.member = index, member
        self.features = member.model.pyramid({**batch, "image": paddle.to_tensor(batch["image"])})


class FeaturePasses:
    """Passes over all (member, view) of an image, to and fro, so that a pass begins with the features the last one ended with.

    One `ViewFeatures` lives at a time; with a single (member, view), features are computed once for all passes.

    Args:
        members: with their views.
        sample: the decoded picture.
    """

    def __init__(self, members: Sequence[Member[AveragedDetector]], sample: Sample) -> None:
        self._pairs = [(member, view) for member in members for view in range(len(member.views))]
        self._sample = sample
        self._current: ViewFeatures | None = None
        self._forth = True

    def over_all(self, compute: Callable[[ViewFeatures], Result]) -> Iterator[Result]:
        """Make one pass: yield what `compute` gives for each view. It must keep nothing of it, or memory grows.

        Raises:
            DivergenceError: an output is NaN or infinite; names the member where there are several.
        """
        order = range(len(self._pairs)) if self._forth else range(len(self._pairs) - 1, -1, -1)
        self._forth = not self._forth
        for index in order:
            member, view = self._pairs[index]
            try:
                if self._current is None or self._current.index != index:
                    self._current = None  # before the next one's features are computed
                    self._current = ViewFeatures(index, member, self._sample, view)
                result = compute(self._current)
            except DivergenceError as error:
                raise DivergenceError(f"{member.name}: {error}" if member.name else str(error)) from error
            yield result
