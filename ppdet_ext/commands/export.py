"""The command behind tools/export.py: a trained model for ONNX Runtime, OpenVINO or Paddle Inference."""

import argparse
from pathlib import Path

from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.errors import UserError
from ppdet_ext.export.run import DYNAMIC, ExportOptions, export
from ppdet_ext.export.verify import Difference

from .cli import config_of


def run(args: argparse.Namespace) -> list[Difference]:
    """`export` with the flags of `export_parser`."""
    calibration = args.calibration, args.calibration_images
    options = ExportOptions(args.format, args.precision, _size(args.size), args.batch, args.opset, *calibration)
    cfg = config_of(args)
    name = options.format if options.precision == "fp32" else f"{options.format}_{options.precision}"
    return export(cfg, Path(args.output) if args.output else run_folder(cfg) / name, options)


def _size(words: list[str] | None) -> tuple[int, int] | str | None:
    """What --size says. UserError for anything but two numbers or "dynamic"."""
    if words is None or words == [DYNAMIC]:
        return words[0] if words else None
    if len(words) != 2 or not all(word.isdigit() for word in words):
        raise UserError(f"--size {' '.join(words)}: give height and width in px (--size 256 1600), or {DYNAMIC}.")
    return int(words[0]), int(words[1])
