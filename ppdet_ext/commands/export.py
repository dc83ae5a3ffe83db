"""The command behind tools/export.py: a trained model for ONNX Runtime, OpenVINO or Paddle Inference."""

import argparse
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.distributed.interrupt import Stop
from ppdet_ext.errors import UserError
from ppdet_ext.export.folder import predict_command
from ppdet_ext.export.run import DYNAMIC, Accuracy, ExportOptions, export
from ppdet_ext.export.verify import Difference
from ppdet_ext.host import Config

from .cli import config_of
from .export_accuracy import NoAnnotationsError, accuracy

USUAL = 100  # images of EvalDataset, by which fewer bits are judged
logger = logging.getLogger("ppdet_ext")


def run(args: argparse.Namespace) -> list[Difference]:
    """`export` with the flags of `export_parser`."""
    calibration = args.calibration, args.calibration_images
    options = ExportOptions(args.format, args.precision, _size(args.size), args.batch, args.opset, *calibration, args.masks)
    judge = _judge(args, options)
    cfg = config_of(args)
    name = options.format if options.precision == "fp32" else f"{options.format}_{options.precision}"
    folder = Path(args.output) if args.output else run_folder(cfg) / name
    with _orderly_end():
        found = export(cfg, folder, options, None if judge is None else lambda aside: judge(cfg, aside))
    if command := predict_command(options.format, folder):
        logger.info("Next: %s", command)
    return found


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """Within the block SIGTERM raises Stop, so that nothing is left half; Paddle's own handler ends the process at once."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stop(signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former or signal.SIG_DFL)


def _judge(args: argparse.Namespace, options: ExportOptions) -> Callable[[Config, Path], Accuracy | None] | None:
    """What measures the metric; None where that is not asked for. Raises: UserError for numbers that make no sense."""
    if args.evaluate is not None and args.evaluate < 0:
        raise UserError(f"--evaluate {args.evaluate}: give a number of images, 0 for none.")
    if args.most_drop < 0:
        raise UserError(f"--most_drop {args.most_drop:g}: give points, 0 or more.")
    if options.format == "paddle" and args.evaluate:
        raise UserError("--evaluate: the runtime runs models of --format onnx and openvino; leave it out.")
    if not (USUAL if args.evaluate is None and options.precision != "fp32" else args.evaluate):
        return None

    def judge(cfg: Config, folder: Path) -> Accuracy | None:
        try:
            return accuracy(cfg, folder, args.evaluate or USUAL, args.most_drop)
        except NoAnnotationsError as error:
            if args.evaluate:
                raise
            logger.warning("The metric before and after is not measured: %s", error)
            return None

    return judge


def _size(words: list[str] | None) -> tuple[int, int] | str | None:
    """What --size says. UserError for anything but two numbers or "dynamic"."""
    if words is None or words == [DYNAMIC]:
        return words[0] if words else None
    if len(words) != 2 or not all(word.isdigit() for word in words):
        raise UserError(f"--size {' '.join(words)}: give height and width in px (--size 256 1600), or {DYNAMIC}.")
    return int(words[0]), int(words[1])
