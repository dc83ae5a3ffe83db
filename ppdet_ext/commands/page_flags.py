"""Flags of the commands whose outcome is a page. As light as flags.py."""

import argparse

from .flags import DEFAULT_CONFIG
from .parser import FlagParser

DATA_PARTS = {"train": "TrainDataset", "eval": "EvalDataset", "test": "TestDataset"}


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
    parser.add_argument("--model", metavar="DIR", help="folder of an exported model, or of a run (its configuration too)")
    parser.add_argument("--results", metavar="DIR", help="predictions that infer.py --save_results, or eval.py, has written")
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
