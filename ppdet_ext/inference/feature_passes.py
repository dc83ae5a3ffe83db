"""The features of every (member, view) of an image in turn, one at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import paddle

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import DivergenceError

if TYPE_CHECKING:
    from ppdet_ext.modeling.detection.features import Features

    from .ensemble import Member

Result = TypeVar("Result")


class Sight:
    """One member's features of one view.

    Attributes:
        index: of the (member, view).
        member: whose features these are.
        frame: where the view lies on the picture.
        feats: the pyramid, per level (1, channels, H, W).
    """

    def __init__(self, index: int, member: Member, sample: Sample, view: int):
        batch, self.frame = member.views.render(sample, view)
        self.index, self.member = index, member
        self.feats = member.model.pyramid({**batch, "image": paddle.to_tensor(batch["image"])})

    @property
    def im_shape(self) -> np.ndarray:
        """(1, 2) float32 h, w of the view without padding."""
        return np.array([[self.frame.height, self.frame.width]], np.float32)

    @functools.cached_property
    def features(self) -> Features:
        """What the heads pool from."""
        return self.member.model.roi_head.features(self.feats)[0]


class Sights:
    """Passes over all (member, view) of an image, to and fro, so that a pass begins with the features the last one ended with.

    One `Sight` lives at a time; with a single (member, view), features are computed once for all passes.

    Args:
        members: with their views.
        sample: the decoded picture.
    """

    def __init__(self, members: Sequence[Member], sample: Sample):
        self._pairs = [(member, view) for member in members for view in range(len(member.views))]
        self._sample = sample
        self._sight: Sight | None = None
        self._forth = True

    def each(self, use: Callable[[Sight], Result]) -> Iterator[Result]:
        """One pass: what `use` makes of each sight, of which it must keep nothing, or memory grows.

        Raises:
            DivergenceError: an output is NaN or infinite; names the member where there are several.
        """
        order = range(len(self._pairs)) if self._forth else range(len(self._pairs) - 1, -1, -1)
        self._forth = not self._forth
        for index in order:
            member, view = self._pairs[index]
            try:
                if self._sight is None or self._sight.index != index:
                    self._sight = None  # before the next one's features are computed
                    self._sight = Sight(index, member, self._sample, view)
                result = use(self._sight)
            except DivergenceError as error:
                raise DivergenceError(f"{member.name}: {error}" if member.name else str(error)) from error
            yield result
