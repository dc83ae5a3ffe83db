"""All commands by name: `ppdet-ext train …` is `python tools/train.py …`.

A command is a parser (here and in flags.py, light) and a module with `run(args)`, imported once the flags are parsed, because
it imports paddle. The module may have `go_on(args, interrupt)`: what to say after an interruption.
"""

import argparse
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

from ppdet_ext import __version__
from ppdet_ext.environment import open_standard_streams
from ppdet_ext.errors import DivergenceError, RankError, UserError, WorkerDied, nearest
from ppdet_ext.progress import LogLines

from . import data_flags, flags, page_flags, search_flags
from .flags import EXIT_DIVERGED, EXIT_USAGE, EXIT_USER_ERROR


class Command(NamedTuple):
    """about: one line. parser: takes the program's name. module: has `run(args)`, in ppdet_ext."""

    about: str
    parser: Callable[[str], argparse.ArgumentParser]
    module: str


COMMANDS = {
    "import_labels": Command(
        "make a data set and a configuration of a label tool's files", data_flags.import_labels_parser, "commands.import_labels"
    ),
    "new_config": Command(
        "make a configuration for a data set of COCO JSON or a CSV", data_flags.new_config_parser, "commands.new_config"
    ),
    "export_labels": Command(
        "write a data set or predictions as a label tool's files", data_flags.export_labels_parser, "commands.export_labels"
    ),
    "explore": Command("look at a data set before training, in one page", page_flags.explore_parser, "commands.explore"),
    "train": Command("train a model", flags.train_parser, "commands.train"),
    "eval": Command("evaluate weights by COCO's AP or another metric", flags.eval_parser, "commands.eval"),
    "report": Command("say in one page what a model finds, misses and gets wrong", page_flags.report_parser, "commands.report"),
    "infer": Command("draw predictions on images", flags.infer_parser, "commands.infer"),
    "view": Command("look at data, truth and predictions in a browser", page_flags.view_parser, "commands.view"),
    "submit": Command("write a submission", flags.submit_parser, "commands.submit"),
    "tune": Command("search score, NMS, mask and area thresholds", search_flags.tune_parser, "commands.tune"),
    "kfold": Command(
        "train on folds, tune on what no model has seen, write their ensemble", search_flags.kfold_parser, "commands.kfold"
    ),
    "split": Command("deal images out to folds, or to training and validation", flags.split_parser, "commands.split"),
    "average": Command("average the weights of several checkpoints", flags.average_parser, "commands.average"),
    "pseudo_label": Command(
        "write confident predictions as annotations to train on", flags.pseudo_label_parser, "commands.pseudo_label"
    ),
    "convert": Command("convert checkpoints of other frameworks, or back", flags.convert_parser, "commands.convert"),
    "convert_mmdet": Command("convert weights of mmdetection, or back", flags.convert_mmdet_parser, "commands.convert"),
    "export": Command("export a model for ONNX Runtime, OpenVINO or Paddle Inference", flags.export_parser, "commands.export"),
    "make_sample": Command("draw a set of sample pictures", flags.make_sample_parser, "data.synthetic.__main__"),
    "demo": Command("from nothing to a submission: train, evaluate, draw, submit", flags.demo_parser, "commands.demo"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """`ppdet-ext <command> <flags>`; returns the exit code. Without `argv` it is this process's own command line."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["-h"], ["--help"], []):
        print(overview())
        return 0 if words else EXIT_USAGE
    if words == ["--version"]:
        print(f"{flags.PROGRAM} {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        print(f"error: there is no command {name!r}.{nearest(name, COMMANDS)} See {flags.PROGRAM} --help.", file=sys.stderr)
        return EXIT_USAGE
    if argv is None:
        hold_signals(name)
    return run(name, rest, f"{flags.PROGRAM} {name}")


def overview() -> str:
    """The commands, a line each."""
    lines = [f"  {name:14} {command.about}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {flags.PROGRAM} COMMAND [-c CONFIG] [-o KEY=VALUE ...] ...",
            "",
            "commands (--help after one shows its flags):",
            *lines,
        ]
    )


def script(name: str) -> None:
    """End this process with what the command `name` returns for its command line; for tools/."""
    hold_signals(name)
    sys.exit(run(name))


def hold_signals(name: str) -> None:
    """What signals do until the command runs, while paddle is being imported."""
    # No traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if name in ("train", "kfold"):
        # Held back while importing, and once training has ended: it asks for an orderly end, and may not kill.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def run(name: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Parse flags, run the command; returns the exit code.

    0: done, or stopped by SIGUSR1. 1: said in one message. 3: training diverged. 130, 143: stopped by SIGINT or SIGTERM,
    the command says how to go on. With --traceback, exceptions come through with their traceback.
    """
    open_standard_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    args = COMMANDS[name].parser(prog or f"{name}.py").parse_args(words)
    args.words = words
    try:
        if hasattr(args, "config"):
            # First, as it keeps the noise of importing paddle back; and what configurations may name.
            importlib.import_module("ppdet_ext.register")
        module = importlib.import_module(f"ppdet_ext.{COMMANDS[name].module}")
        set_up_logging()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        module.run(args)
        return 0
    except (UserError, DivergenceError, RankError, WorkerDied) as error:
        if getattr(args, "traceback", False):
            raise
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DIVERGED if isinstance(error, DivergenceError) else EXIT_USER_ERROR
    except KeyboardInterrupt as interrupt:
        return _interrupted(sys.modules.get(f"ppdet_ext.{COMMANDS[name].module}"), args, interrupt)


def _interrupted(module: ModuleType | None, args: argparse.Namespace, interrupt: KeyboardInterrupt) -> int:
    """The exit code, after rank 0 has said how to go on."""
    go_on = getattr(module, "go_on", None)
    if os.environ.get("PADDLE_TRAINER_ID", "0") == "0":
        print(f"\nInterrupted. {go_on(args, interrupt) if go_on else ''}".rstrip(), file=sys.stderr)
    signum = getattr(interrupt, "signum", signal.SIGINT)
    # SIGUSR1 is how a scheduler asks for an orderly end before it starts the job again.
    return 0 if signum == signal.SIGUSR1 else 128 + signum


def set_up_logging() -> None:
    """Our log lines go to stdout in ppdet's format, once, and not through handlers others have installed."""
    root = logging.getLogger("ppdet_ext")
    root.setLevel(logging.INFO)
    root.propagate = False
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is no text is shown with its odd bytes written out.
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = LogLines(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", "%m/%d %H:%M:%S"))
    root.handlers[:] = [handler]


if __name__ == "__main__":
    sys.exit(main())
