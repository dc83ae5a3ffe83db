"""Flags of the commands that begin with somebody's data: import_labels, new_config. As light as flags.py."""

import argparse
from pathlib import Path

from .flags import is_holdout

VAL = 0.2
MODEL_NAMES = ("htc", "mask_rcnn", "htc_small", "htc_r50", "mask_rcnn_small", "mask_rcnn_r50", "unet")


def import_labels_parser(prog: str = "import_labels.py") -> argparse.ArgumentParser:
    """Flags of tools/import_labels.py."""
    text = "Make a data set and a configuration of what a label tool has exported."
    parser = argparse.ArgumentParser(prog=prog, description=text, allow_abbrev=False)
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
        "--unlabelled", choices=("leave_out", "keep"), default="leave_out",
        help="pictures of the folder that the labels do not name: leave_out (default), or keep them as showing no object",
    )  # fmt: skip
    parser.add_argument(
        "--on_error", choices=("error", "skip"), default="error",
        help="labels whose picture is missing or of another size: an error (default), or skip them",
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
    parser = argparse.ArgumentParser(prog=prog, description=text, allow_abbrev=False)
    parser.add_argument("annotations", metavar="FILE", help="COCO JSON, or CSV (which competition's is told by its header)")
    parser.add_argument("--images", metavar="DIR", help="folder of the pictures (default: looked for beside the annotations)")
    parser.add_argument("--val_annotations", metavar="FILE", help="those of the validation (default: some are held out)")
    parser.add_argument("--val_images", metavar="DIR", help="their pictures (default: that of --images)")
    parser.add_argument(
        "--test_images", metavar="DIR", help="pictures that infer and submit predict (default: the validation's)"
    )
    parser.add_argument(
        "--val", type=_share, default=VAL, metavar="SHARE", help="share held out without --val_annotations (%(default)s)"
    )
    parser.add_argument(
        "--data", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="further arguments of the data set, as preset=airbus, 'class_names=[ship]', on_error=skip",
    )  # fmt: skip
    _add_config_flags(parser, "configs/<name of the data set's folder>.yml")
    return parser


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


def _share(text: str) -> float:
    value = _number_or_share(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1")
    return value
