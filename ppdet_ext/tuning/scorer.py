"""`Scorer`: the metric of any setting, without running the steps again."""

from collections.abc import Iterable, Sequence

import numpy as np

from ppdet_ext.distributed.forked import forked
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation.metric import PartialMetric
from ppdet_ext.structures import Candidates, Record

from .class_scorer import ClassScorer, Prepared
from .setting import USUAL, Cut, Searched, Setting

FEW = 2000  # candidates for which processes are not worth their start
CHUNKS = 8  # tasks of a process and threshold, so that all end together


class Scorer:
    """Values of a metric for settings, on the candidates of some images.

    The result is the metric of `PostProcess(setting.steps(…))` applied to the candidates. Masks are cut once for each mask
    threshold; each (image, class) is scored once for each selection of its masks.

    Args:
        metric: not started.
        records: with masks.
        class_names, category_ids: by label.
        candidates: of the records' images, in their order, as `quantised` gives them.
        workers: processes that cut masks; with fewer than two, this one does it.
        searched: steps whose thresholds settings are of.
        presence: (images, classes) float64 probabilities that classes are there, for `SoftGate`; None: 1.

    Raises:
        UserError: as `metric.start`; a label that the data set does not have.
    """

    def __init__(
        self,
        metric: PartialMetric,
        records: Sequence[Record],
        class_names: Sequence[str],
        category_ids: Sequence[int],
        candidates: Sequence[Candidates],
        workers: int = 0,
        searched: Searched = USUAL,
        presence: np.ndarray | None = None,
    ) -> None:
        metric.start(records, class_names, category_ids)
        highest = max((int(one.labels.max()) for one in candidates if len(one)), default=-1)
        if highest >= len(class_names):
            raise UserError(f"The model predicts class number {highest + 1}; the data set has {len(class_names)} classes.")
        self.metric, self.images, self.workers = metric, len(records), workers
        by_class: Iterable[np.ndarray | None] = [None] * len(class_names) if presence is None else presence.T
        self.classes = [ClassScorer(label, metric, records, candidates, own) for label, own in enumerate(by_class)]
        self.settings, self.searched = 0, searched

    @property
    def instances(self) -> list[int]:
        """Annotated objects of each class."""
        return [scorer.instances for scorer in self.classes]

    def prepare(self, cuts: Iterable[Cut]) -> None:
        """Cut masks beforehand, with several processes."""
        wanted = [cut for cut in dict.fromkeys(cuts) if not all(scorer.is_prepared(cut) for scorer in self.classes)]
        total = sum(len(scorer.scores) for scorer in self.classes) * len(wanted)
        if self.workers < 2 or total < FEW:
            return
        # Neighbours belong to one image, whose size decides what they cost.
        jobs = sorted(((label, image) for label, scorer in enumerate(self.classes) for image in scorer.images), key=_image)
        size = -(-len(jobs) // (self.workers * CHUNKS))
        chunks = [(cut, jobs[start : start + size]) for cut in wanted for start in range(0, len(jobs), size)]
        done: dict[Cut, dict[tuple[int, int], Prepared]] = {cut: {} for cut in wanted}
        for (cut, chunk), prepared in zip(chunks, forked(self._prepare, chunks, self.workers)):
            done[cut].update(zip(chunk, prepared))
        for cut, every in done.items():
            for label, scorer in enumerate(self.classes):
                scorer.accept(cut, [every[label, image] for image in scorer.images])

    def _prepare(self, task: tuple[Cut, Sequence[tuple[int, int]]]) -> list[Prepared]:
        return [self.classes[label].prepare(image, task[0]) for label, image in task[1]]

    def value(self, setting: Setting, images: Sequence[int] | None = None) -> float:
        """The number that counts, of all images or of those at these positions."""
        self.settings += 1
        rows = self._rows(setting)
        return self._of(rows if images is None else [rows[image] for image in images])

    def combined(self, settings: Sequence[Setting]) -> float:
        """The number that counts, where each image has its own setting."""
        rows = {setting: self._rows(setting) for setting in dict.fromkeys(settings)}
        return self._of([rows[setting][image] for image, setting in enumerate(settings)])

    def value_of_nothing(self) -> float:
        """The number that counts if nothing is submitted for any image."""
        return self._of(list(map(list, zip(*(scorer.blank for scorer in self.classes)))))

    def kept(self, setting: Setting) -> int:
        """How many candidates remain in all images."""
        self._rows(setting)
        return sum(int(scorer.chosen(own).sum()) for scorer, own in zip(self.classes, setting.classes))

    def _rows(self, setting: Setting) -> list[list]:
        self.prepare(own.cut for own in setting.classes)
        partials = [scorer.partials(own) for scorer, own in zip(self.classes, setting.classes)]
        return list(map(list, zip(*partials)))

    def _of(self, rows: list[list]) -> float:
        return float(next(iter(self.metric.combine(rows).values()))[0])


def _image(job: tuple[int, int]) -> int:
    return job[1]
