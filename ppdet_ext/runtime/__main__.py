"""`python -m ppdet_ext.runtime predict FOLDER --images … --output …`: pictures, COCO results and a table of measurements."""

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

if __name__ == "__main__":
    # No traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from ppdet_ext.data.formats.result_files import BOX_FILE, IMAGES_FILE, MASK_FILE, TABLE, coco_results, write_measurements
from ppdet_ext.data.images.check import pictures_in
from ppdet_ext.data.images.decode import check_end, image_size, read_image, read_image_of
from ppdet_ext.data.images.raster import is_deep
from ppdet_ext.drawing.detections import draw_detections, why_nothing_is_drawn
from ppdet_ext.drawing.files import drawn_name, write_picture
from ppdet_ext.drawing.fonts import drawable_names
from ppdet_ext.environment import open_standard_streams
from ppdet_ext.errors import DivergenceError, UserError, counted, nearest
from ppdet_ext.files.atomic import demand_writable, no_empty_folders, write_atomic
from ppdet_ext.progress import LogLines, shown
from ppdet_ext.structures.measurements import check_scale

from .open import FILES
from .prediction import Prediction
from .predictor import Predictor

PICTURES, JSON, CSV = KINDS = ("pictures", "json", "csv")
EXIT_USER_ERROR, EXIT_DIVERGED, EXIT_INTERRUPTED = 1, 3, 130  # as of the tools
_FLAG = "--output"
_MOST_NAMED, _MOST_LOOKED_AT = 10, 10_000  # files that cannot be read; files for a near name
logger = logging.getLogger("ppdet_ext")


def make_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(prog="python -m ppdet_ext.runtime", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="find objects in pictures", allow_abbrev=False)
    predict.add_argument("folder", metavar="FOLDER", help="exported model: what tools/export.py has written")
    predict.add_argument("--images", required=True, metavar="PATH", help="a picture, or all pictures of a folder")
    predict.add_argument(_FLAG, required=True, metavar="DIR", help="folder of what is written")
    predict.add_argument("--save", nargs="+", choices=KINDS, default=KINDS, help="what is written (default: all)")
    text = "lowest score in pictures and table (default: 0.5, or all where steps decide)"
    predict.add_argument("--draw_threshold", type=float, metavar="SCORE", help=text)
    predict.add_argument("--mm_per_pixel", type=float, metavar="MM", help="side of a pixel, for the table of measurements")
    predict.add_argument("--postprocess", metavar="FILE", help="YAML with PostProcess, such as tools/tune.py writes")
    predict.add_argument("--engine", choices=("auto", *FILES), default="auto", help="default: that of the export")
    text = "cpu; of ONNX Runtime (onnxruntime-gpu) gpu, gpu:1, or auto: a GPU where there is one (default: cpu)"
    predict.add_argument("--device", default="cpu", metavar="NAME", help=text)
    predict.add_argument("--threads", type=int, metavar="N", help="of all predictions together (default: all processors)")
    predict.add_argument("--batch_size", type=int, metavar="N", help="images of one size at a time")
    text = "images at the same time, each on its share of the threads and with working memory of its own (default: 1)"
    predict.add_argument("--streams", type=int, default=1, metavar="N", help=text)
    predict.add_argument("--traceback", action="store_true", help="show where in the code an error comes from")
    return parser


def predict(args: argparse.Namespace) -> int:
    """Write what the flags ask for; returns the number of images. Raises: UserError for what the user can mend."""
    with no_empty_folders(Path(args.output) / TABLE):
        return _predict(args)


def _predict(args: argparse.Namespace) -> int:
    check_scale(args.mm_per_pixel, "--mm_per_pixel")
    if args.draw_threshold is not None and not 0 <= args.draw_threshold <= 1:
        raise UserError(f"--draw_threshold is {args.draw_threshold:g}; scores lie between 0 and 1.")
    output, images = Path(args.output), _images(args.images)
    _check_output(output, images)
    options = {key: getattr(args, key) for key in ("engine", "device", "threads", "postprocess", "batch_size", "streams")}
    predictor = Predictor(args.folder, **options)
    _check_images(images, predictor)
    usual = 0.0 if predictor.has_steps else 0.5
    lowest = usual if args.draw_threshold is None else args.draw_threshold
    names = drawable_names(predictor.classes, predictor.category_ids) if PICTURES in args.save else []
    found: list[Prediction] = []
    for file, own in zip(images, shown(predictor.predict(iter(images)), len(images), "Predict")):
        if PICTURES in args.save:
            picture = read_image_of(str(file), (own.height, own.width), predictor.reading)
            write_picture(output / drawn_name(Path(file.name)), draw_detections(picture, own, names, lowest), _FLAG)
        found.append(own)
    if JSON in args.save:
        _write_json(output, found)
    if CSV in args.save:
        chosen = [(one.name, one.filter(score=lowest)) for one in found]
        write = lambda aside: write_measurements(aside, chosen, predictor.classes, args.mm_per_pixel)  # noqa: E731
        write_atomic(output / TABLE, write, _FLAG, durable=False)
    count = sum(len(one.filter(score=lowest)) for one in found)
    objects = counted(count, f"objects of score {lowest:g} or more")
    logger.info("%s, %s, in %s", counted(len(found), "images"), objects, output)
    if found and not count:
        logger.info("%s", why_nothing_is_drawn(max(float(one.scores.max(initial=0)) for one in found)))
    return len(found)


def _images(path: str) -> list[Path]:
    if not Path(path).exists():
        beside = Path(path).parent
        near = nearest(path, map(str, islice(beside.iterdir(), _MOST_LOOKED_AT))) if beside.is_dir() else ""
        raise UserError(f"--images {path}: no such picture or folder.{near}")
    return [Path(file) for file in pictures_in(path)] if Path(path).is_dir() else [Path(path)]


def _check_images(images: Sequence[Path], predictor: Predictor) -> None:
    """UserError, before anything is predicted, that names the files which cannot be, as far as header and end tell."""
    reading = predictor.reading
    faults: list[str] = []
    fitting: set[tuple[int, int]] = set()
    for file in map(str, images):
        try:
            size = image_size(file, reading.exif)
            check_end(file)
            if size not in fitting:
                predictor.check_size(*size, file)
                fitting.add(size)
            if reading.range is None and is_deep(file):
                read_image(file, reading)
        except UserError as error:
            faults.append(str(error))
    if len(faults) > 1:
        more = [f"and {len(faults) - _MOST_NAMED} more"] if len(faults) > _MOST_NAMED else []
        faults[:] = [
            "\n  ".join(
                [f"{len(faults)} of {len(images)} pictures cannot be used; nothing was written:", *faults[:_MOST_NAMED], *more]
            )
        ]
    if faults:
        raise UserError(faults[0])


def _check_output(output: Path, images: Sequence[Path]) -> None:
    """UserError, before anything is predicted, for a folder that cannot be written, or that holds the images."""
    if output.resolve() in {file.resolve().parent for file in images}:
        raise UserError(f"{_FLAG} {output} holds the images themselves; pictures would be written over them. Choose another.")
    for name in (BOX_FILE, MASK_FILE, IMAGES_FILE, TABLE):
        demand_writable(output / name, _FLAG)


def _write_json(output: Path, found: Sequence[Prediction]) -> None:
    boxes, masks = coco_results(enumerate(found), found[0].category_ids)
    listed = [{"id": number, "file_name": one.name} for number, one in enumerate(found)]
    for name, content in ((BOX_FILE, boxes), (MASK_FILE, masks), (IMAGES_FILE, listed)):
        text = json.dumps(content)
        write_atomic(output / name, lambda aside, text=text: aside.write_text(text), _FLAG, durable=False)  # type: ignore[misc]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, 1 after one line about what to mend, 3 for numbers that are none, 130."""
    args = make_parser().parse_args(argv)
    open_standard_streams()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LogLines(sys.stdout)])
    try:
        predict(args)
    except (UserError, DivergenceError) as error:
        if args.traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DIVERGED if isinstance(error, DivergenceError) else EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted; nothing but pictures has been written", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
