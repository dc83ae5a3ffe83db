"""What the command lines share: ppdet's flags, logging, and how a command ends."""

import argparse
import io
import logging
import shlex
import signal
import sys
from collections.abc import Callable, Sequence

import ppdet_ext.register  # noqa: F401  what configurations may name
from ppdet_ext.checkpoint import CHANGES
from ppdet_ext.config.load import load_config
from ppdet_ext.distributed import world
from ppdet_ext.distributed.interrupt import Interrupted
from ppdet_ext.errors import DivergenceError, RankError, UserError, WorkerDied
from ppdet_ext.host import Config

DEFAULT_CONFIG = "configs/htc/steel_sample.yml"
EXIT_USER_ERROR, EXIT_DIVERGED = 1, 3
logger = logging.getLogger("ppdet_ext.engine")


def base_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Parser with the flags every tool has: -c, -o, --debug."""
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
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
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def train_parser() -> argparse.ArgumentParser:
    """Flags of tools/train.py."""
    parser = base_parser("train.py", "Train a model.")
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
        choices=list(CHANGES),
        metavar="KIND",
        help=f"what may differ from the run that is resumed: {', '.join(CHANGES)}",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (GPU)")
    parser.add_argument("--use_vdl", action="store_true", help="write curves for VisualDL")
    parser.add_argument("--vdl_log_dir", default="vdl_log_dir/scalar", metavar="DIR", help="where (%(default)s)")
    return parser


def eval_parser() -> argparse.ArgumentParser:
    """Flags of tools/eval.py."""
    parser = base_parser("eval.py", "Evaluate weights by COCO's AP or another metric.")
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


def add_postprocess_flag(parser: argparse.ArgumentParser) -> None:
    """--postprocess."""
    parser.add_argument(
        "--postprocess", metavar="FILE", help="YAML merged over the configuration: thresholds of tools/tune.py, views, steps"
    )


def add_image_flags(parser: argparse.ArgumentParser) -> None:
    """--infer_img and --infer_dir."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--infer_img", metavar="FILE", help="one image")
    source.add_argument("--infer_dir", metavar="DIR", help="all images of a folder")


def infer_parser() -> argparse.ArgumentParser:
    """Flags of tools/infer.py."""
    parser = base_parser("infer.py", "Draw predictions on images; without --infer_img or --infer_dir on TestDataset's.")
    add_image_flags(parser)
    parser.add_argument("--output_dir", default="output/infer", metavar="DIR", help="where pictures go (%(default)s)")
    parser.add_argument(
        "--draw_threshold", type=float, metavar="SCORE", help="lowest score drawn (0.5; 0 where there are PostProcess steps)"
    )
    parser.add_argument("--save_results", action="store_true", help="write bbox.json and mask.json (COCO results) too")
    add_postprocess_flag(parser)
    return parser


def config_of(args: argparse.Namespace) -> Config:
    """The configuration that the flags name."""
    if args.config is None:
        logger.info("No -c given: using %s", DEFAULT_CONFIG)
    overrides = list(args.opt)
    if getattr(args, "metric", None):
        overrides.append(f"metric=[{', '.join(args.metric)}]")
    over, training = getattr(args, "postprocess", None), getattr(args, "training", False)
    return load_config(args.config or DEFAULT_CONFIG, overrides, over, training)


def set_up_logging() -> None:
    """Our log lines go to stdout in ppdet's format, once, and not through handlers others have installed."""
    root = logging.getLogger("ppdet_ext")
    root.setLevel(logging.INFO)
    root.propagate = False
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is no text is shown with its odd bytes written out.
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", "%m/%d %H:%M:%S"))
    root.handlers[:] = [handler]


def run_tool(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], object],
    argv: Sequence[str] | None,
    go_on: Callable[[KeyboardInterrupt], str] = lambda interrupt: "",
) -> int:
    """Parse flags, run the command; returns the exit code.

    0: done, or stopped by SIGUSR1. 1: said in one message. 3: training diverged. 130, 143: stopped by SIGINT or SIGTERM,
    `go_on` says how to go on. With --debug, exceptions come through with their traceback.
    """
    args = parser.parse_args(argv)
    set_up_logging()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command(args)
        return 0
    except (UserError, DivergenceError, RankError, WorkerDied) as error:
        if args.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DIVERGED if isinstance(error, DivergenceError) else EXIT_USER_ERROR
    except KeyboardInterrupt as interrupt:
        if world()[0] == 0:
            print(f"\nInterrupted. {go_on(interrupt)}".rstrip(), file=sys.stderr)
        signum = getattr(interrupt, "signum", signal.SIGINT)
        # SIGUSR1 is how a scheduler asks for an orderly end before it starts the job again.
        return 0 if signum == signal.SIGUSR1 else 128 + signum


def how_to_go_on(tool: str, argv: Sequence[str], interrupt: KeyboardInterrupt) -> str:
    """What an interrupted training has saved, and the command line that goes on from there."""
    if not isinstance(interrupt, Interrupted) or interrupt.saved is None:
        again = f"{_program(tool)} {shlex.join(argv)}".rstrip()
        return f"This run has not saved anything yet; start it again with: {again}"
    return f"Saved: {interrupt.saved}. Go on from there with: {resume_command(tool, argv, interrupt.resume)}"


def _program(tool: str) -> str:
    """Python and script as the user called them; 'python <tool>' inside another program."""
    words = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    called = len(words) > 1 and words[-1] == sys.argv[0] and sys.argv[0].endswith(tool.rsplit("/", 1)[-1])
    return shlex.join(words if called else ["python", tool])


def resume_command(tool: str, argv: Sequence[str], resume: str = "auto") -> str:
    """The command line that continues the one given: the same, with `-r <resume>` in place of any other -r."""
    if world()[1] > 1:
        return f"the same launch, with -r {shlex.quote(resume)} after {tool}"
    kept: list[str] = []
    flag = ""
    for word in argv:
        # What was allowed to change has changed; it need not be allowed again.
        flag = word.split("=")[0] if word.startswith("-") else flag
        if flag not in ("-r", "--resume", "--allow_change") and not flag.startswith("-r"):
            kept.append(word)
    # -r goes first: -o takes every word that follows it.
    return f"{_program(tool)} {shlex.join(['-r', resume, *kept])}"
