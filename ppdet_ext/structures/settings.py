"""`TestSettings`: the thresholds by which a model finds objects, passed to it with each batch."""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class ProposalSettings:
    """What a model of two stages proposes.

    Attributes:
        nms_iou: overlap above which the worse of two proposals goes.
        pre_nms: best candidates of each level before that.
        count: best proposals of an image after it.
    """

    nms_iou: float = 0.7
    pre_nms: int = 1000
    count: int = 1000


@dataclass(frozen=True)
class TestSettings:
    """What counts as an object found.

    Attributes:
        score_threshold: a score counts when it is greater.
        nms_iou: overlap above which the worse of two boxes of a class goes.
        max_detections: best objects of an image.
        mask_threshold: probability from which a pixel belongs to the mask.
        proposals: of models that propose regions first; others leave it alone.
    """

    __test__: ClassVar[bool] = False  # pytest takes no class of this name for a test

    score_threshold: float = 0.001
    nms_iou: float = 0.5
    max_detections: int = 100
    mask_threshold: float = 0.5
    proposals: ProposalSettings = field(default_factory=ProposalSettings)
