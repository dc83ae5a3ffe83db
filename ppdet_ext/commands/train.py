"""The command behind tools/train.py, and how it says to go on after an interruption."""

import argparse
import logging
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ppdet_ext.checkpoint.folder import BEST, FINAL
from ppdet_ext.distributed import world
from ppdet_ext.distributed.interrupt import Interrupted
from ppdet_ext.errors import UserError
from ppdet_ext.inference.presence import is_classifier
from ppdet_ext.training.evaluation import BestFound
from ppdet_ext.training.train import train

from .cli import config_of
from .debug_run import debug_train
from .flags import PROGRAM
from .report import report_of_training

TOOL = "tools/train.py"
# What nothing but a training reads; `next_command` leaves them out.
TRAINING_KEYS = (
    "epoch",
    "snapshot_epoch",
    "snapshot_iter",
    "log_iter",
    "pretrain_weights",
    "report",
    "gradient_accumulation_steps",
)
TRAINING_SECTIONS = ("LearningRate", "OptimizerBuilder", "TrainReader")
logger = logging.getLogger("ppdet_ext")


def run(args: argparse.Namespace) -> Path | None:
    """`train` with the flags of `train_parser`."""
    options = {
        "evaluate": args.eval,
        "resume": args.resume,
        "amp": args.amp,
        "use_vdl": args.use_vdl,
        "vdl_log_dir": args.vdl_log_dir,
        "allow_change": args.allow_change,
    }
    if not args.debug_run:
        cfg = config_of(args)
        best = BestFound() if args.eval and cfg.report else None
        folder = train(cfg, **options, best=best)
        if best is not None:
            report_of_training(cfg, folder, best)
        if world()[0] == 0:
            # A classifier finds no objects that pages could show.
            pages = [] if is_classifier(cfg) else page_commands(folder)
            logger.info("Next:\n  %s", "\n  ".join([next_command(args, folder), *pages]))
        return folder
    if args.resume or args.vdl_log_dir:
        raise UserError("--debug_run begins anew and leaves nothing; leave -r and --vdl_log_dir out.")
    debug_train(config_of(args), options)
    return None


def next_command(args: argparse.Namespace, folder: Path) -> str:
    """The command line that uses what was trained: evaluates it, or, where that has been done, draws what it finds."""
    best = folder / BEST
    kept = [one for one in args.opt if not _of_training(one)]
    weights = best if args.eval and best.is_file() else folder / FINAL
    tool = "infer" if args.eval else "eval"
    chosen = [] if args.config is None else ["-c", str(args.config)]
    flags = ["--infer_dir", "FOLDER"] if args.eval else []
    return f"{_other(tool)} {shlex.join([*chosen, *flags, '-o', *kept, f'weights={weights}'])}"


def page_commands(folder: Path) -> list[str]:
    """The command lines of the pages that show what a run's model finds."""
    return [f"{_other(tool)} {shlex.join(['--run', str(folder)])}" for tool in ("report", "view")]


def _other(tool: str) -> str:
    # ppdet-ext train, python tools/train.py, or however it was called.
    return re.sub(r"train(\.py)?$", rf"{tool}\1", _program(TOOL))


def _of_training(override: str) -> bool:
    path = override.partition("=")[0].strip()
    return path in TRAINING_KEYS or path.partition(".")[0] in TRAINING_SECTIONS


def go_on(args: argparse.Namespace, interrupt: KeyboardInterrupt) -> str:
    """What an interrupted training has saved, and the command line that goes on from there."""
    return "Nothing of a --debug_run is kept." if args.debug_run else how_to_go_on(TOOL, args.words, interrupt)


def how_to_go_on(tool: str, argv: Sequence[str], interrupt: KeyboardInterrupt) -> str:
    """See `go_on`; `argv` are the words after the script's name."""
    if not isinstance(interrupt, Interrupted) or interrupt.saved is None:
        again = f"{_program(tool)} {shlex.join(argv)}".rstrip()
        return f"This run has not saved anything yet; start it again with: {again}"
    return f"Saved: {interrupt.saved}. Go on from there with: {resume_command(tool, argv, interrupt.resume)}"


def _program(tool: str) -> str:
    """Python and script, or console command, as the user called them; 'python <tool>' inside another program."""
    words = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    script, name = sys.argv[0], tool.rsplit("/", 1)[-1]
    if Path(script).name == PROGRAM and len(sys.argv) > 1:
        return shlex.join([PROGRAM if shutil.which(PROGRAM) == script else script, sys.argv[1]])
    called = len(words) > 1 and words[-1] == script and script.endswith(name)
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
