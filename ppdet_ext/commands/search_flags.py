"""Flags of the commands that search thresholds; light, as `flags` is."""

import argparse

from ppdet_ext.tuning.options import CRITERIA, Predicting, Searching

from .flags import FOLDS, TUNED_FILE, add_debug_run_flag, add_postprocess_flag, base_parser


def add_search_flags(parser: argparse.ArgumentParser) -> None:
    """What a search for thresholds may do; see `Predicting` and `Searching`."""
    predicting = Predicting()
    parser.add_argument("--score_threshold", type=float, default=predicting.score_threshold, metavar="SCORE",
                        help="lowest score of a candidate (%(default)s)")  # fmt: skip
    parser.add_argument("--nms_iou", type=float, default=predicting.nms_iou, metavar="IOU",
                        help="overlap above which candidates are not kept (%(default)s)")  # fmt: skip
    parser.add_argument("--max_detections", type=int, metavar="N", help="candidates of an image (default: the configuration's)")
    parser.add_argument("--min_instances", type=int, default=Searching.min_instances, metavar="N",
                        help="annotated objects that a class needs for thresholds of its own (%(default)s)")  # fmt: skip
    parser.add_argument("--min_gain", type=float, default=Searching.min_gain, metavar="GAIN",
                        help="of the metric, that a class's own threshold must bring (%(default)s)")  # fmt: skip
    parser.add_argument("--keep_per_class", action="store_true",
                        help="write thresholds of single classes though the cross-fold check speaks against them")  # fmt: skip


def tune_parser(prog: str = "tune.py") -> argparse.ArgumentParser:
    """Flags of tools/tune.py."""
    parser = base_parser(prog, "Search score, NMS, mask and area thresholds on EvalDataset, for all classes and for each.")
    # A list of one, as `config_of` takes it.
    parser.add_argument("--metric", nargs=1, metavar="NAME", help="metric to raise (default: the configuration's)")
    parser.add_argument("--output", metavar="FILE", help=f"YAML to write (default: {TUNED_FILE} in the run's folder)")
    add_postprocess_flag(parser)
    add_search_flags(parser)
    parser.add_argument(
        "--folds", type=int, default=Searching.folds, metavar="N", help="of the cross-fold check; 0: none (%(default)s)"
    )
    parser.add_argument("--plot", metavar="PNG", help="draw the metric over each class's score threshold")
    parser.add_argument(
        "--criterion",
        choices=CRITERIA,
        help=f"what thresholds of a classifier are to raise ({CRITERIA[0]})",
    )
    return parser


def kfold_parser(prog: str = "kfold.py") -> argparse.ArgumentParser:
    """Flags of tools/kfold.py."""
    parser = base_parser(
        prog, "Train on folds of TrainDataset, tune on what each model has not seen, write the ensemble's YAML."
    )
    parser.set_defaults(training=True)
    parser.add_argument("--folds", type=int, default=FOLDS, metavar="N", help="number of folds, and of models (%(default)s)")
    text = "train the models of these folds only, counted from 0, and make no ensemble (default: all)"
    parser.add_argument("--only", nargs="+", type=int, default=[], metavar="FOLD", help=text)
    parser.add_argument("--output", metavar="DIR", help="where all of it goes (default: <the run's folder>_kfold)")
    parser.add_argument("--metric", nargs=1, metavar="NAME", help="metric to raise (default: the configuration's)")
    parser.add_argument(
        "--eval", action="store_true", help="evaluate at each snapshot epoch, take the best weights of each fold"
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (GPU)")
    text = (
        "what starts each training on several ranks: 'python -m paddle.distributed.launch --gpus 0,1,2,3' (default: one rank)"
    )
    parser.add_argument("--launch", metavar="WORDS", help=text)
    parser.add_argument("--use_vdl", action="store_true", help="write curves for VisualDL")
    add_debug_run_flag(parser)
    add_search_flags(parser)
    return parser
