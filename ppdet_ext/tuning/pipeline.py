"""The metric of steps as `eval` computes it: steps applied to candidates, masks given to the metric."""

from collections.abc import Mapping, Sequence

from ppdet_ext.evaluation.metric import CellMetric
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.structures import Record
from ppdet_ext.structures.candidates import Candidates


def pipeline_value(
    metric: CellMetric,
    records: Sequence[Record],
    class_names: Sequence[str],
    category_ids: Sequence[int],
    found: Sequence[Candidates],
    entries: Sequence[Mapping],
    mask_threshold: float,
) -> float:
    """The number that counts.

    Args:
        metric: started anew.
        records: with masks.
        class_names, category_ids: by label.
        found: of the records' images, in their order, with float probabilities.
        entries: of `PostProcess`. mask_threshold: of masks that no step cuts.

    Raises:
        UserError: as `PostProcess` and the metric.
    """
    steps = PostProcess(entries, class_names, category_ids, mask_threshold)
    metric.start(records, class_names, category_ids)
    for record, one in zip(records, found):
        metric.update(record.im_id, steps(one, record.name))
    return float(next(iter(metric.compute().values()))[0])
