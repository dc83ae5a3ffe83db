"""`Problem`: candidates, annotations and steps whose thresholds are searched; and the metric by the pipeline as it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ppdet_ext.data.images.decode import read_record
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.evaluation.metric import PartialMetric
from ppdet_ext.inference.candidate_file import restored
from ppdet_ext.postprocess import ImageContext, PostProcess, SoftGate
from ppdet_ext.structures import Candidates, Record

from .scorer import Scorer
from .setting import USUAL, Searched, Setting


@dataclass(frozen=True)
class Problem:
    """What is tuned.

    Attributes:
        make_metric: a new metric.
        records, class_names, category_ids: of the data set.
        candidates: quantised candidates of the records' images, in their order.
        start: thresholds as configured. others: configured steps that are not searched, which run after those that are.
        mask_threshold: of the model.
        model_steps: what the configured model does itself, as entries of `PostProcess`.
        configured: the configuration's entries in their own order; None: those of `start`, then `others`.
        first: configured steps that run before those that are searched, which go by what is left.
        searched: steps whose thresholds are.
        reading: how pictures that steps ask for are read.
    """

    make_metric: Callable[[], PartialMetric]
    records: Sequence[Record]
    class_names: Sequence[str]
    category_ids: Sequence[int]
    candidates: Sequence[Candidates]
    start: Setting
    others: Sequence[Mapping[str, Any]] = ()
    mask_threshold: float = 0.5
    model_steps: Sequence[Mapping[str, Any]] = ()
    configured: Sequence[Mapping[str, Any]] | None = None
    first: Sequence[Mapping[str, Any]] = ()
    searched: Searched = USUAL
    reading: Reading = AS_SHOWN

    def entries(self, setting: Setting) -> list[Mapping[str, Any]]:
        """The whole `PostProcess`."""
        return [*self.first, *setting.steps(self.class_names, self.category_ids, self.searched), *self.others]

    def scorer(self, workers: int = 0) -> Scorer:
        """Of all images, with that many processes."""
        names, ids = self.class_names, self.category_ids
        return Scorer(
            self.make_metric(), self.records, names, ids, self._behind_first(), workers, self.searched, self._soft_presence()
        )

    def _behind_first(self) -> list[Candidates]:
        """What the first steps leave of the candidates."""
        steps = PostProcess(self.first, self.class_names, self.category_ids).steps
        left = []
        for record, found in zip(self.records, self.candidates):
            image = ImageContext(record.name, found.presence)
            for step in steps:
                chosen = step.apply(found, image)
                assert isinstance(chosen, Candidates)
                found = chosen
            left.append(found)
        return left

    def _soft_presence(self) -> np.ndarray | None:
        """Probabilities (images, classes) that SoftGate goes by; None without one."""
        if "SoftGate" not in self.searched.kinds:
            return None
        gate = SoftGate(0, **self.searched.fixed.get("SoftGate", {}))
        gate.bind(self.class_names, self.category_ids)
        images = (ImageContext(record.name, found.presence) for record, found in zip(self.records, self.candidates))
        return np.stack([np.nan_to_num(gate.probabilities(image)[0], nan=1.0) for image in images])

    def value(self, setting: Setting) -> float:
        """The metric by the true pipeline."""
        return self._run(self.entries(setting))

    def value_as_configured(self) -> float:
        """The metric of the configuration by the true pipeline, its steps in their own order."""
        return self._run(self.entries(self.start) if self.configured is None else [*self.model_steps, *self.configured])

    def _run(self, entries: Sequence[Mapping[str, Any]]) -> float:
        return pipeline_value(
            self.make_metric(),
            self.records,
            self.class_names,
            self.category_ids,
            [restored(one) for one in self.candidates],
            entries,
            self.mask_threshold,
            self.reading,
        )


def pipeline_value(
    metric: PartialMetric,
    records: Sequence[Record],
    class_names: Sequence[str],
    category_ids: Sequence[int],
    candidates: Sequence[Candidates],
    entries: Sequence[Mapping],
    mask_threshold: float,
    reading: Reading = AS_SHOWN,
) -> float:
    """The number that counts.

    Args:
        metric: started anew.
        records: with masks.
        class_names, category_ids: by label.
        candidates: of the records' images, in their order, with float probabilities.
        entries: of `PostProcess`. mask_threshold: of masks that no step cuts.
        reading: how pictures that steps ask for are read.

    Raises:
        UserError: as `PostProcess` and the metric.
    """
    steps = PostProcess(entries, class_names, category_ids, mask_threshold)
    metric.start(records, class_names, category_ids)
    for record, one in zip(records, candidates):
        metric.update(record.im_id, steps(one, record.name, partial(read_record, record, reading)))
    return float(next(iter(metric.compute().values()))[0])
