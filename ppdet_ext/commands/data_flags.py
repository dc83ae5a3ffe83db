"""Flags of the commands of somebody's data: import_labels, new_config, export_labels. As light as flags.py."""

import argparse
from pathlib import Path

from ppdet_ext.errors import UserError, nearest

from .flags import is_holdout
from .parser import FlagParser

VAL = 0.2
UNLABELLED, ON_ERROR = ("leave_out", "keep"), ("error", "skip")
KAGGLE = "kaggle"
# `data.labels.writers.WRITERS`, which is not light.
EXPORTED = ("coco", "cvat", "label_studio", "labelme", "yolo_seg", "masks", KAGGLE)
MODEL_NAMES = ("htc", "mask_rcnn", "htc_small", "htc_r50", "mask_rcnn_small", "mask_rcnn_r50", "unet")


def import_labels_parser(prog: str = "import_labels.py") -> argparse.ArgumentParser:
    """Flags of tools/import_labels.py."""
    text = "Make a data set and a configuration of what a label tool has exported."
    parser = FlagParser(prog, text)
    parser.add_argument("files", nargs="+", metavar="FILE", help="exported files, or folders of them, of one label tool")
    parser.add_argument("--format", default="auto", metavar="NAME", help="of the files (default: told by their content)")
    parser.add_argument("--images", metavar="DIR", help="folder of the pictures (default: beside the labels)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the data set to make, such as dataset/mine")
    _add_config_flags(parser, "configs/<name of --out>.yml")
    parser.add_argument(
        "--val", type=_number_or_share, default=VAL, metavar="IMAGES",
        help="pictures for validation, where the export tells none: a number, or a share (%(default)s); 0: none",
    )  # fmt: skip
    parser.add_argument("--split_anew", action="store_true", help="do not go by the export's own training and validation")
    parser.add_argument(
        "--no-duplicates", action="store_false", dest="duplicates",
        help="do not look for pictures that are the same, which stay together (looking decodes every picture)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="another one deals out otherwise (%(default)s)")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--copy", action="store_const", const="copy", dest="place", help="copy the pictures into the data set")
    place.add_argument("--link", action="store_const", const="link", dest="place", help="link to them from the data set")
    parser.set_defaults(place="stay")
    parser.add_argument(
        "--unlabelled", choices=UNLABELLED, default=UNLABELLED[0],
        help="pictures of the folder that the labels do not name: leave_out (default), or keep them as showing no object",
    )  # fmt: skip
    parser.add_argument(
        "--on_error", choices=ON_ERROR, default=ON_ERROR[0],
        help="labels of missing, truncated or otherwise sized pictures, and damaged label files: an error (default), or skip",
    )  # fmt: skip
    parser.add_argument(
        "--rename",
        nargs="+",
        action="extend",
        default=[],
        metavar="OLD=NEW",
        help="call classes otherwise; equal names are one",
    )
    return parser


def new_config_parser(prog: str = "new_config.py") -> argparse.ArgumentParser:
    """Flags of tools/new_config.py."""
    text = "Make a configuration for a data set that is COCO JSON, or a CSV of run-length-encoded masks."
    parser = FlagParser(prog, text)
    parser.add_argument("annotations", metavar="FILE", help="COCO JSON, or CSV (which competition's is told by its header)")
    parser.add_argument("--images", metavar="DIR", help="folder of the pictures (default: looked for beside the annotations)")
    parser.add_argument("--val_annotations", metavar="FILE", help="those of the validation (default: some are held out)")
    parser.add_argument("--val_images", metavar="DIR", help="their pictures (default: that of --images)")
    parser.add_argument(
        "--test_images", metavar="DIR", help="pictures that infer and submit predict (default: the validation's)"
    )
    parser.add_argument(
        "--val", type=_number_or_share, default=VAL, metavar="IMAGES",
        help="pictures held out without --val_annotations: a number, or a share (%(default)s); 0: none",
    )  # fmt: skip
    parser.add_argument(
        "--data", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="further arguments of the data set, as preset=airbus, 'class_names=[ship]', on_error=skip",
    )  # fmt: skip
    _add_config_flags(parser, "configs/<name of the data set's folder>.yml")
    return parser


def export_labels_parser(prog: str = "export_labels.py") -> argparse.ArgumentParser:
    """Flags of tools/export_labels.py. Without -c there is no `args.config`, and so nothing of paddle to be imported."""
    text = "Write a data set, predictions or a label tool's files as the files of another label tool."
    parser = FlagParser(prog, text)
    text = "configuration that names the data set, or of which --results are"
    parser.add_argument("-c", "--config", default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        "-o", "--opt", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override keys of the configuration"
    )
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error comes from")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--dataset", default="EvalDataset", metavar="KEY", help="which data set of -c (%(default)s)")
    source.add_argument("--results", metavar="DIR", help="predictions: folder of infer.py --save_results; class names are -c's")
    source.add_argument("--labels", nargs="+", metavar="FILE", help="files or folders of a label tool, in place of -c")
    parser.add_argument("--format", default="auto", metavar="NAME", help="of --labels (default: told by their content)")
    parser.add_argument("--images", metavar="DIR", help="folder of the pictures, where sizes or --copy_images need it")
    parser.add_argument("--to", required=True, type=_exported, metavar="NAME", help=", ".join(EXPORTED))
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files")
    parser.add_argument(
        "--min_score", type=float, default=0.0, metavar="SCORE", help="lowest score of predictions (%(default)s)"
    )
    parser.add_argument("--copy_images", action="store_true", help="copy the pictures to where the tool looks for them")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    text = "Label Studio: what stands before a picture's name (default: /data/local-files/?d=, its local storage)"
    parser.add_argument("--image_prefix", metavar="TEXT", help=text)
    text = "Label Studio: what the predictions are said to be of (%(default)s)"
    parser.add_argument("--model_version", default="ppdet_ext", metavar="TEXT", help=text)
    return parser


def _exported(text: str) -> str:
    name, colon, _ = text.partition(":")
    if name not in EXPORTED or (colon and name != KAGGLE):
        known = [*EXPORTED[:-1], f"{KAGGLE}:<template>"]
        raise argparse.ArgumentTypeError(f"no format is called {text!r}.{nearest(name, EXPORTED)} Known: {', '.join(known)}.")
    return text


def _add_config_flags(parser: argparse.ArgumentParser, default: str) -> None:
    """--config and what goes with writing one. It is not `args.config`, which is one to read, and needs paddle."""
    parser.add_argument("--config", dest="new_config", type=Path, metavar="FILE", help=f"configuration to write ({default})")
    parser.add_argument(
        "--model", default="htc", metavar="NAME",
        help=f"{', '.join(MODEL_NAMES)} (default: %(default)s; without a size, small on a CPU and R50 on a GPU)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run has written")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error comes from")


def _number_or_share(text: str) -> int | float:
    try:
        value = int(text) if text.isdigit() else float(text)
    except ValueError:
        value = -1
    if value != 0 and not is_holdout(value):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of images nor a share between 0 and 1")
    return value


def demand_holdout(val: object) -> None:
    """UserError unless it is a number of pictures, a share, or 0."""
    if not isinstance(val, (int, float)) or isinstance(val, bool) or (val != 0 and not is_holdout(val)):
        raise UserError(f"val is {val!r}; give a number of pictures, such as 30, a share between 0 and 1, such as 0.2, or 0.")
