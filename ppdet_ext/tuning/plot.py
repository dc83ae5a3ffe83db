"""A picture of the metric over each class's score threshold."""

from collections.abc import Sequence
from pathlib import Path

from .options import SearchBounds
from .scorer import Scorer
from .search import COARSE
from .setting import Setting

COLUMNS = 4


def draw_score_curves(
    path: Path, name: str, scorer: Scorer, setting: Setting, names: Sequence[str], bounds: SearchBounds
) -> int:
    """Write a PNG with a curve for each annotated class, the others' thresholds as in `setting`; returns their number.

    Raises: OSError where the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = [label for label, instances in enumerate(scorer.instances) if instances]
    grid = [score for score in COARSE["score"] if bounds.allows("score", score)]
    rows = max(1, -(-len(labels) // COLUMNS))
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(3 * COLUMNS, 2.2 * rows), squeeze=False, sharex=True)
    for axis in axes.flat[len(labels) :]:
        axis.set_visible(False)
    for axis, label in zip(axes.flat, labels):
        axis.plot(grid, [scorer.value(setting.moved("score", score, label)) for score in grid])
        axis.axvline(setting.classes[label].score, color="tab:orange", linewidth=1)
        axis.set_title(f"{names[label]} ({scorer.instances[label]})", fontsize=8)
        axis.tick_params(labelsize=7)
    figure.suptitle(f"{name} over the score threshold of each class (instances)", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, format="png", dpi=100)
    pyplot.close(figure)
    return len(labels)
