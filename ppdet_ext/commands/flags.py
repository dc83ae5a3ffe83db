"""Flags of all commands. Importing this file imports neither paddle nor ppdet, so that --help answers at once."""

import argparse

from ppdet_ext.data.synthetic.flags import make_parser as make_sample_flags
from ppdet_ext.environment import ROOT
from ppdet_ext.errors import nearest

from .parser import FlagParser

PROGRAM = "ppdet-ext"
DEFAULT_CONFIG = "configs/htc/steel_sample.yml"
# Kinds of `checkpoint.CHANGES`, whose room imports paddle.
CHANGES = ("world_size", "batch_size", "dataset", "seed", "config")
DEFAULT_SCORE = 0.8  # of pseudo-labels
FOLDS = 5  # of a split
EXIT_USER_ERROR, EXIT_DIVERGED, EXIT_USAGE = 1, 3, 2
FORMATS = ROOT / "configs" / "submissions"
# The names these formats had before there were templates.
STYLES = {"imageid_classid": "severstal_stage1", "classid": "severstal_stage2"}
TUNED_FILE = "tuned.yml"
# Of infer; `inference.outputs.KINDS`, whose room imports paddle.
RESULT_KINDS = ("coco", "csv", "cvat", "label_studio", "labelme", "yolo_seg", "masks")


def base_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Parser with the flags every tool has: -c, -o, --traceback."""
    parser = FlagParser(prog, description)
    parser.add_argument("-c", "--config", help=f"configuration file (default: {DEFAULT_CONFIG})")
    parser.add_argument(
        "-o",
        "--opt",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override keys of the configuration, e.g. -o epoch=3 TrainReader.batch_size=4",
    )
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error comes from")
    # Its former name.
    parser.add_argument("--debug", action="store_true", dest="traceback", help=argparse.SUPPRESS)
    return parser


def add_postprocess_flag(parser: argparse.ArgumentParser) -> None:
    """--postprocess."""
    parser.add_argument(
        "--postprocess", metavar="FILE", help="YAML merged over the configuration: thresholds of tools/tune.py, views, steps"
    )


def add_debug_run_flag(parser: argparse.ArgumentParser) -> None:
    """--debug_run."""
    text = "try all stages on a handful of images in a minute or two: train, evaluate, tune, submit; nothing is kept"
    parser.add_argument("--debug_run", action="store_true", help=text)


def add_image_flags(parser: argparse.ArgumentParser) -> None:
    """--infer_img and --infer_dir."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--infer_img", metavar="FILE", help="one image")
    source.add_argument("--infer_dir", metavar="DIR", help="all images of a folder")


def train_parser(prog: str = "train.py") -> argparse.ArgumentParser:
    """Flags of tools/train.py."""
    parser = base_parser(prog, "Train a model.")
    parser.set_defaults(training=True)
    parser.add_argument("--eval", action="store_true", help="evaluate at each snapshot epoch, keep best_model")
    parser.add_argument(
        "-r",
        "--resume",
        metavar="WHAT",
        help="go on from a checkpoint: 'auto' (the newest complete one of this run, if any), an epoch's number, or a path",
    )
    parser.add_argument(
        "--allow_change",
        nargs="+",
        action="extend",
        default=[],
        choices=CHANGES,
        metavar="KIND",
        help=f"what may differ from the run that is resumed: {', '.join(CHANGES)}",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (GPU)")
    parser.add_argument("--use_vdl", action="store_true", help="write curves for VisualDL")
    parser.add_argument("--vdl_log_dir", metavar="DIR", help="where (default: vdl in the run's folder)")
    add_debug_run_flag(parser)
    return parser


def eval_parser(prog: str = "eval.py") -> argparse.ArgumentParser:
    """Flags of tools/eval.py."""
    parser = base_parser(prog, "Evaluate weights by COCO's AP or another metric.")
    parser.add_argument("--classwise", action="store_true", help="show AP of each class")
    parser.add_argument(
        "--save_prediction_only",
        action="store_true",
        help="write bbox.json and mask.json, compute no metrics",
    )
    parser.add_argument("--output_eval", metavar="DIR", help="where results are written (default: the run's folder)")
    parser.add_argument("--metric", nargs="+", metavar="NAME", help="in place of the configuration's: COCO, SeverstalDice, …")
    add_postprocess_flag(parser)
    return parser


def infer_parser(prog: str = "infer.py") -> argparse.ArgumentParser:
    """Flags of tools/infer.py."""
    parser = base_parser(prog, "Draw predictions on images; without --infer_img or --infer_dir on TestDataset's.")
    add_image_flags(parser)
    parser.add_argument("--output_dir", default="output/infer", metavar="DIR", help="where pictures go (%(default)s)")
    parser.add_argument(
        "--draw_threshold", type=float, metavar="SCORE", help="lowest score drawn (0.5; 0 where there are PostProcess steps)"
    )
    text = f"write files of results too: {', '.join(RESULT_KINDS)} (without a name: coco, that is bbox.json and mask.json)"
    parser.add_argument("--save_results", nargs="*", default=False, type=_result_kind, metavar="KIND", help=text)
    parser.add_argument(
        "--mm_per_pixel", type=float, metavar="MM", help="side of a pixel, for --save_results csv in millimetres"
    )
    parser.add_argument(
        "--save_probabilities", metavar="CSV", help="write a classifier's probabilities, as ClassifierGate reads them (file: …)"
    )
    text = "of a model that classifies pixels draw the maps of probabilities, too"
    parser.add_argument("--draw_maps", action="store_true", help=text)
    parser.add_argument("--num_images", type=int, metavar="N", help="only the first N images")
    add_postprocess_flag(parser)
    return parser


def _result_kind(text: str) -> str:
    if text not in RESULT_KINDS:
        hint = nearest(text, RESULT_KINDS)
        raise argparse.ArgumentTypeError(f"no results are called {text!r}.{hint} Known: {', '.join(RESULT_KINDS)}.")
    return text


def submit_parser(prog: str = "submit.py") -> argparse.ArgumentParser:
    """Flags of tools/submit.py."""
    parser = base_parser(prog, "Write a submission: predict a test folder, or take results of infer.py --save_results.")
    add_image_flags(parser)
    parser.add_argument("--results", metavar="DIR", help="folder with mask.json and images.json of infer.py --save_results")
    parser.add_argument("--output", default="output/submission.csv", metavar="CSV", help="file to write (%(default)s)")
    parser.add_argument(
        "--draw_threshold",
        type=float,
        metavar="SCORE",
        help="lowest score that counts (0.5; 0 where there are PostProcess steps)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--format", metavar="NAME", help=f"{', '.join(known_formats())}, or a template's file (default: by the data set)"
    )
    which.add_argument(
        "--style", choices=tuple(STYLES), help=f"other names of {' and '.join(STYLES.values())}: the contest's stage 1 or 2"
    )
    add_postprocess_flag(parser)
    return parser


def known_formats() -> list[str]:
    """Names of the templates in configs/submissions."""
    return sorted(path.stem for path in FORMATS.glob("*.yml"))


def split_parser(prog: str = "split.py") -> argparse.ArgumentParser:
    """Flags of tools/split.py."""
    parser = base_parser(prog, "Deal the images of TrainDataset out to folds, or to training and validation.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--folds", type=int, metavar="N", help="number of folds (5, unless --holdout is given)")
    how.add_argument(
        "--holdout", type=_number_or_share, metavar="IMAGES", help="images for validation: a number, or a share such as 0.1"
    )
    parser.add_argument(
        "--balanced", type=int, metavar="IMAGES", help="deal out only so many images, with objects, about as many of each class"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one gives other folds (%(default)s)")
    parser.add_argument(
        "--no-duplicates",
        action="store_false",
        dest="duplicates",
        help="do not look for duplicate images, which stay together (looking decodes every image)",
    )
    parser.add_argument("--output", metavar="CSV", help="file to write (default: split.csv in the data set's folder)")
    parser.add_argument("--force", action="store_true", help="replace the file if it holds another split")
    return parser


def _number_or_share(text: str) -> int | float:
    try:
        value = int(text) if text.isdigit() else float(text)
    except ValueError:
        value = -1
    if not is_holdout(value):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of images nor a share between 0 and 1")
    return value


def is_holdout(value: float) -> bool:
    return value > 0 and (isinstance(value, int) or value < 1)


def average_parser(prog: str = "average.py") -> argparse.ArgumentParser:
    """Flags of tools/average.py."""
    parser = base_parser(prog, "Average the weights of several checkpoints of one model.")
    # After -o they would be taken for values of it.
    text = "number of an epoch of this configuration's run, folder of a checkpoint, or path of weights; two or more, before -o"
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help=text)
    parser.add_argument("--output", metavar="FILE", help=".pdparams to write (default: averaged.pdparams in the run's folder)")
    text = "compute the statistics of a batch norm that trains anew over N batches of TrainDataset"
    parser.add_argument("--update_bn", type=int, default=0, metavar="N", help=text)
    return parser


def pseudo_label_parser(prog: str = "pseudo_label.py") -> argparse.ArgumentParser:
    """Flags of tools/pseudo_label.py."""
    parser = base_parser(prog, "Write confident predictions on unlabelled images as annotations to train on.")
    add_image_flags(parser)
    parser.add_argument("--output", default="output/pseudo_labels.csv", metavar="CSV", help="file to write (%(default)s)")
    parser.add_argument(
        "--score",
        nargs="+",
        default=[],
        metavar="[CLASS=]SCORE",
        help=f"lowest score that is confident ({DEFAULT_SCORE}), of all or of single classes: 0.8, or pits=0.7 default=0.9",
    )
    parser.add_argument("--min_area", type=int, default=0, metavar="PIXELS", help="leave out smaller objects (%(default)s)")
    parser.add_argument(
        "--reject_from",
        type=float,
        metavar="SCORE",
        help="leave out images with an object that scores this or more, but less than is confident (default: keep them)",
    )
    parser.add_argument("--keep_empty", action="store_true", help="list images without any confident object as having none")
    add_postprocess_flag(parser)
    return parser


def convert_parser(prog: str = "convert.py") -> argparse.ArgumentParser:
    """Flags of tools/convert.py."""
    parser = base_parser(prog, "Convert checkpoints of other frameworks into .pdparams, or ours into theirs.")
    parser.add_argument("source", metavar="SRC", help="file to read: .pth, .safetensors or .pdparams")
    parser.add_argument(
        "output", metavar="OUT", help="file to write, of the kind its suffix says: .pdparams, .pth, .safetensors"
    )
    dropping = "where the file has another number of classes, leave out the tensors that depend on it"
    parser.add_argument("--num-classes-from-config", action="store_true", help=dropping)
    return parser


def convert_mmdet_parser(prog: str = "convert_mmdet.py") -> argparse.ArgumentParser:
    """Flags of tools/convert_mmdet.py, the name that tools/convert.py had."""
    parser = convert_parser(prog)
    parser.add_argument("--to-mmdet", action="store_true", help="convert our weights into mmdetection's")
    return parser


def export_parser(prog: str = "export.py") -> argparse.ArgumentParser:
    """Flags of tools/export.py; what their values may be `export.run` says, whose room imports paddle."""
    parser = base_parser(prog, "Export a trained model for ONNX Runtime, OpenVINO or Paddle Inference, and compare it.")
    parser.add_argument("--format", default="onnx", metavar="NAME", help="onnx, openvino or paddle (%(default)s)")
    parser.add_argument(
        "--precision",
        default="fp32",
        metavar="NAME",
        help="fp32; onnx and openvino fp16 and int8, openvino bf16 too (%(default)s)",
    )
    text = "height and width, px, of the pixels it takes, or dynamic (default: TestReader's ResizeFixed, else dynamic)"
    parser.add_argument("--size", nargs="+", metavar="PX", help=text)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at a time (%(default)s)")
    parser.add_argument("--opset", type=int, default=17, metavar="N", help="of ONNX (%(default)s)")
    text = "boxes: probabilities that span the boxes; full: masks of the whole image, too (%(default)s)"
    parser.add_argument("--masks", default="boxes", metavar="NAME", help=text)
    text = "pictures that int8 is calibrated on (default: those of TrainDataset)"
    parser.add_argument("--calibration", metavar="DIR", help=text)
    text = "at most so many of them, at even distances (%(default)s)"
    parser.add_argument("--calibration_images", type=int, default=64, metavar="N", help=text)
    text = "images of EvalDataset by which the metric before and after is compared (default: 0; of fewer bits 100)"
    parser.add_argument("--evaluate", type=int, metavar="N", help=text)
    text = "refuse a model whose metric falls by more (default: %(default)s)"
    parser.add_argument("--most_drop", type=float, default=1.0, metavar="POINTS", help=text)
    parser.add_argument("--output", metavar="DIR", help="folder to write (default: the format's name in the run's folder)")
    add_postprocess_flag(parser)
    return parser


def make_sample_parser(prog: str = "make_sample.py") -> argparse.ArgumentParser:
    """Flags of `python -m ppdet_ext.data.synthetic`."""
    return make_sample_flags(prog)


def demo_parser(prog: str = "demo.py") -> argparse.ArgumentParser:
    """Flags of tools/demo.py: none but --help."""
    text = "Draw a sample, train on it (or go on training), evaluate, draw predictions, write a submission."
    return FlagParser(prog, text)
