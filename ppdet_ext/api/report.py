"""`write_report`: what a model finds, misses and gets wrong, for programs."""

import os
from collections.abc import Sequence

from ppdet_ext.commands import report as report_command
from ppdet_ext.commands.page_flags import DATA_PARTS, PICTURES
from ppdet_ext.errors import path_of, paths_of
from ppdet_ext.registry import one_of
from ppdet_ext.report.schema import Report

from .configuration import Overrides, PathLike, Source, Steps, Weights, left_as_found, load_config


def write_report(
    config: Source,
    weights: Weights = None,
    overrides: Overrides = None,
    *,
    results: PathLike | None = None,
    part: str = "eval",
    compare: PathLike | Sequence[PathLike] = (),
    output_dir: PathLike | None = None,
    score: float | None = None,
    pictures: int = PICTURES,
    postprocess: Steps | None = None,
) -> Report | None:
    """Write `report.html`, `report.json`, `report.csv` and `label_errors.csv`, as tools/report.py does.

    Args:
        config, weights, overrides: see `load_config`.
        results: predictions in place of the model's: folder with mask.json or bbox.json, or a JSON file of COCO results.
        part: data set: "train", "eval", "test".
        compare: other runs' folders, or results of other models on the same images.
        output_dir: folder of what is written; the run's by default.
        score: threshold of counts and pictures; None: that of the best F1.
        pictures: at most so many of a kind; 0: none.
        postprocess: steps in place of the configuration's, see `load_config`.

    Returns:
        Everything that the page says, `.head.numbers["segm"]["AP"]`, `.classes`, `.errors`; None beside rank 0.

    Raises:
        UserError: for what the caller can mend.
    """
    cfg = load_config(config, overrides, weights=weights, postprocess=postprocess, training=False)
    options = report_command.Options(
        results=None if results is None else path_of(results, "results"),
        key=DATA_PARTS[one_of(part, tuple(DATA_PARTS), "part")],
        compare=[os.fspath(path) for path in paths_of(compare, "compare")],
        output=None if output_dir is None else path_of(output_dir, "output_dir"),
        score=score,
        pictures=pictures,
    )
    with left_as_found():
        return report_command.report(cfg, options)
