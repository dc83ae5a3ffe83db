"""Flags of the commands whose outcome is a page. As light as flags.py."""

import argparse

from .flags import DEFAULT_CONFIG, add_postprocess_flag, base_parser
from .parser import FlagParser

PICTURES = 12  # of a kind, in a report
DATA_PARTS = {"train": "TrainDataset", "eval": "EvalDataset", "test": "TestDataset"}
EXPLORED = ("train", "eval")  # parts that explore looks at, where none are named


def view_parser(prog: str = "view.py") -> argparse.ArgumentParser:
    """Flags of tools/view.py. Without -c there is no `args.config`, and so nothing of paddle to be imported early."""
    parser = FlagParser(prog, "Look at a data set, its truth and predictions in a browser; accept, reject, export.")
    text = f"configuration of the data set and the model (default: {DEFAULT_CONFIG}, unless --model is given)"
    parser.add_argument("-c", "--config", default=argparse.SUPPRESS, help=text)
    text = "override keys of the configuration, e.g. -o weights=output/steel/best_model"
    parser.add_argument("-o", "--opt", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=text)
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error comes from")
    text = "which data sets of the configuration (eval): train, eval, test"
    parser.add_argument("--part", nargs="+", choices=tuple(DATA_PARTS), default=None, metavar="PART", help=text)
    parser.add_argument("--infer_dir", metavar="DIR", help="pictures of a folder in place of the configuration's")
    parser.add_argument("--watch", metavar="DIR", help="show new pictures of this folder as they come, such as a camera's")
    parser.add_argument(
        "--model", "--run", metavar="DIR", help="folder of an exported model, or of a run (its configuration too)"
    )
    parser.add_argument("--results", metavar="PATH", help="COCO results of infer.py --save_results, eval.py or any other tool")
    parser.add_argument(
        "--score", type=float, default=0.5, metavar="SCORE", help="score that the page begins with (%(default)s)"
    )
    parser.add_argument("--mm_per_pixel", type=float, metavar="MM", help="side of a pixel, for sizes in millimetres")
    text = "where decisions, predictions and small pictures are kept (%(default)s)"
    parser.add_argument("--output_dir", default="output/view", metavar="DIR", help=text)
    text = "address to listen at; others than this machine's own let others look and decide (%(default)s)"
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=text)
    parser.add_argument("--port", type=int, metavar="N", help="port to listen at; 0: any (default: the first free from 5678)")
    return parser


def report_parser(prog: str = "report.py") -> argparse.ArgumentParser:
    """Flags of tools/report.py."""
    text = "Say what a model finds, misses and gets wrong, in one HTML page with pictures; every number as JSON and CSV too."
    parser = base_parser(prog, text)
    parser.add_argument("--run", metavar="DIR", help="a run's folder: its configuration and best weights, in place of -c")
    text = "predictions in place of a model: folder with mask.json or bbox.json, or a JSON file of COCO results of any tool"
    parser.add_argument("--results", metavar="PATH", help=text)
    parser.add_argument(
        "--part", choices=tuple(DATA_PARTS), default="eval", metavar="PART", help="data set: train, eval, test (%(default)s)"
    )
    text = "other runs' folders, or results of other models on the same images, to compare with"
    parser.add_argument("--compare", nargs="+", default=[], metavar="PATH", help=text)
    parser.add_argument("--output", metavar="DIR", help="folder of what is written (default: the run's folder)")
    parser.add_argument(
        "--score", type=float, metavar="SCORE", help="threshold of counts and pictures (default: that of the best F1)"
    )
    parser.add_argument(
        "--pictures", type=int, default=PICTURES, metavar="N", help="at most so many pictures of a kind (%(default)s)"
    )
    parser.add_argument("--no-pictures", action="store_const", const=0, dest="pictures", help="numbers and charts alone")
    add_postprocess_flag(parser)
    return parser


def explore_parser(prog: str = "explore.py") -> argparse.ArgumentParser:
    """Flags of tools/explore.py."""
    text = "Look at a data set before training, in one HTML page: what is in it, what is wrong, what to change."
    parser = base_parser(prog, text)
    text = f"data sets of the configuration, what is learnt first (default: {' '.join(EXPLORED)}): train, eval, test"
    parser.add_argument("--part", nargs="+", choices=tuple(DATA_PARTS), default=None, metavar="PART", help=text)
    text = "folder of what is written (default: output/<configuration>/explore)"
    parser.add_argument("--output", metavar="DIR", help=text)
    text = "read no pictures: neither shown nor compared, which is fast"
    parser.add_argument("--no-pictures", action="store_false", dest="pictures", help=text)
    text = "threads that read pictures (default: one for each core)"
    parser.add_argument("--workers", type=int, default=0, metavar="N", help=text)
    return parser
