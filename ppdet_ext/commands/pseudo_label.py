"""The command behind tools/pseudo_label.py: confident predictions on unlabelled images as annotations to train on."""

import argparse
import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppdet_ext.data.datasets import MixedDataSet
from ppdet_ext.data.datasets.csv_base import CsvDataSet
from ppdet_ext.data.formats.rle_csv import RleCsv
from ppdet_ext.data.problems import SHOWN
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.host import Config
from ppdet_ext.inference.predictor import ImagePredictor
from ppdet_ext.postprocess import per_class
from ppdet_ext.structures import Detections

from .cli import config_of
from .flags import DEFAULT_SCORE

logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class Confident:
    """What is taken of one image.

    name: of the file. objects: those that are confident. doubtful: whether something was found that is neither confident nor
    unlikely.
    """

    name: str
    objects: Detections
    doubtful: bool

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.objects.height, self.objects.width


def parse_scores(texts: Sequence[str]) -> dict[str, float]:
    """['pits=0.7', '0.9'] -> {'pits': 0.7, 'default': 0.9}. UserError for what is no score, or said twice."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            score = float(number)
        except ValueError:
            raise UserError(f"--score {text}: {number!r} is no number. Give 0.8, or CLASS=0.8.") from None
        if (name or "default") in found:
            raise UserError(f"--score gives the score of {name or 'default'} twice; keep one.")
        found[name or "default"] = score
    return found


def pseudo_label(
    cfg: Config,
    *,
    images: str | None,
    output: str | Path,
    scores: dict[str, float] | None = None,
    min_area: int = 0,
    reject_from: float | None = None,
    keep_empty: bool = False,
) -> int:
    """Write annotations in the format of TrainDataset; returns the number of images in them.

    Args:
        cfg: from `load_config`; predictions are made as `infer` does, with PostProcess, TestTimeAugmentation and Ensemble.
        images: a picture, a folder, or None for TestDataset's.
        output: CSV file.
        scores: lowest confident score by class name or category id, "default" for the others (0.8).
        min_area: smaller objects, in pixels, are as if they had not been found.
        reject_from: images with an object that scores this or more and is not confident are left out; None keeps them.
        keep_empty: whether images without any confident object are listed as having none, or left out.

    Raises: UserError for what the user can mend, and where not a single image is left.
    """
    form, size = _format(cfg)
    _check(Path(output), min_area, reject_from)
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        predictor = ImagePredictor(cfg, images)
        thresholds = _thresholds(predictor, scores or {}, reject_from)

        def finish(found: list[tuple[int, Confident]]) -> int:
            fitting = [one for _, one in found if _fits(one, size)]
            _warn_of_unfit([one for _, one in found if not _fits(one, size)], size)
            taken = [one for one in fitting if not one.doubtful and (keep_empty or len(one.objects))]
            logger.info("%s", _report(fitting, taken, predictor.class_names, thresholds, keep_empty))
            if not taken:
                raise UserError(_why_none(fitting, reject_from))
            _write(Path(output), form, taken, predictor)
            return len(taken)

        return predictor.over_all(lambda file, found: confident(file.name, found, thresholds, min_area, reject_from), finish)


def _check(output: Path, min_area: int, reject_from: float | None) -> None:
    if min_area < 0 or (reject_from is not None and not 0 <= reject_from <= 1):
        raise UserError(f"--min_area is {min_area} and --reject_from {reject_from}; at least 0, and a score are needed.")
    demand_writable(output, "--output")


def _thresholds(predictor: ImagePredictor, scores: dict[str, float], reject_from: float | None) -> np.ndarray:
    """The lowest confident score (classes,) float64. Raises: UserError for classes that nobody knows, or a useless score."""
    if predictor.invented:
        raise UserError(
            "No data set tells the classes, so what their ids are in annotations is unknown. Provide the annotations of "
            "TrainDataset or EvalDataset (dataset_dir, anno_path)."
        )
    thresholds = per_class(scores, predictor.class_names, predictor.category_ids, "--score", DEFAULT_SCORE, low=0, high=1)
    if reject_from is not None and reject_from >= thresholds.max():
        raise UserError(f"--reject_from {reject_from:g} is not below any --score, so it would leave out nothing.")
    return thresholds


def _format(cfg: Config) -> tuple[RleCsv, tuple[int, int] | None]:
    """The layout of TrainDataset's CSV, and (height, width) where all of its pictures have that size."""
    dataset = cfg.get("TrainDataset")
    dataset = dataset.labelled if isinstance(dataset, MixedDataSet) else dataset
    if isinstance(dataset, CsvDataSet):
        height, width = dataset.height, dataset.width
        return dataset.layouts[0], None if height is None or width is None else (height, width)
    found = "not configured" if dataset is None else f"a {type(dataset).__name__}"
    raise UserError(
        f"TrainDataset is {found}; annotations are written for SteelDataSet, FashionDataSet and RleCsvDataSet, whose format "
        "is a CSV."
    )


def confident(name: str, found: Detections, thresholds: np.ndarray, min_area: int, reject_from: float | None) -> Confident:
    """What is taken of an image: objects of at least `min_area` pixels that score their class's threshold or more.

    Args:
        thresholds: (classes,) float64.
        reject_from: see `pseudo_label`.

    Raises: UserError where the model predicts no masks.
    """
    if found.masks is None:
        raise UserError(f"{name}: the model predicts no masks, which annotations are made of.")
    large = np.array([mask.area >= max(min_area, 1) for mask in found.masks], bool)
    sure = found.scores >= thresholds[found.labels].astype(found.scores.dtype)
    doubtful = reject_from is not None and bool((large & ~sure & (found.scores >= reject_from)).any())
    # The same object twice would be a repeated row, which data sets refuse.
    first = {(label, mask.counts): i for i, (label, mask) in reversed(list(enumerate(zip(found.labels, found.masks))))}
    once = np.isin(np.arange(len(found)), list(first.values()))
    return Confident(name, found.select(large & sure & once), doubtful)


def _fits(one: Confident, size: tuple[int, int] | None) -> bool:
    """Whether a data set of that size, if it has one, can read the image's row."""
    return size in (None, one.size) and _is_utf8(one.name)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _warn_of_unfit(left_out: Sequence[Confident], size: tuple[int, int] | None) -> None:
    odd = [ascii(one.name) for one in left_out if not _is_utf8(one.name)]
    other = [f"{one.name} ({one.size[0]}x{one.size[1]})" for one in left_out if _is_utf8(one.name)]
    reasons = [(odd, "a CSV is UTF-8, and names are not")]
    if size is not None:
        reasons.append((other, f"TrainDataset's images are {size[0]}x{size[1]} (height x width)"))
    for names, reason in reasons:
        if names:
            more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            what = f"{counted(len(names), 'images')} {'is' if len(names) == 1 else 'are'} left out"
            logger.warning("%s, since %s: %s%s", what, reason, ", ".join(names[:SHOWN]), more)


def rows_of(one: Confident, form: RleCsv, class_texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The image's rows in that form; an image without objects gets one without class and mask.

    class_texts: by label, how the form writes a class.
    """
    found = one.objects
    order = range(len(found)) if form.rows == "instance" else np.argsort(found.labels, kind="stable").tolist()
    objects = ((class_texts[found.labels[i]], found.masks[i]) for i in order) if found.masks else ()
    return form.annotation(one.name, *one.size, objects, class_texts)


def _why_none(fitting: Sequence[Confident], reject_from: float | None) -> str:
    """Why no image is taken of those that have the right size."""
    if not fitting:
        return "No image can be taken, so nothing is written. Give images of the training data's size."
    doubtful = sum(one.doubtful and len(one.objects) > 0 for one in fitting)
    if doubtful:
        return (
            f"No image is left, so nothing is written. Images with confident objects, but also others that score from "
            f"{reject_from:g}, which --reject_from takes for missed ones: {doubtful}. Raise --reject_from, or leave it out."
        )
    return "No image has a confident object, so nothing is written. Lower --score, or train longer."


def _write(path: Path, form: RleCsv, taken: Sequence[Confident], predictor: ImagePredictor) -> None:
    named = form.class_field == "class_name"
    texts = predictor.class_names if named else list(map(str, predictor.category_ids))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(form.header)
    writer.writerows(row for one in taken for row in rows_of(one, form, texts))
    content = stream.getvalue().encode()
    write_atomic(path, lambda aside: aside.write_bytes(content), "--output")
    whole, folder = path.resolve(), Path(predictor.dataset.records[0].file).resolve().parent
    what = f"{{dataset_dir: …, anno_path: {whole}, split: {whole}, image_dir: {folder}}}"
    logger.info("%s: %s. A data set of them: %s", path, counted(len(taken), "images"), what)


def _report(
    found: Sequence[Confident], taken: Sequence[Confident], class_names: Sequence[str], thresholds: np.ndarray, keep_empty: bool
) -> str:
    """What became of the images, and a line for each class."""
    doubtful = sum(one.doubtful for one in found)
    empty = sum(not one.doubtful and not len(one.objects) for one in found)
    share = 100 / max(len(found), 1)
    lines = [
        f"{len(taken)} of {counted(len(found), 'images')} taken ({len(taken) * share:.1f} %); {doubtful} left out as doubtful "
        f"({doubtful * share:.1f} %); {empty} without a confident object ({empty * share:.1f} %), "
        + ("listed as having none" if keep_empty else "left out")
    ]
    objects = sum(len(one.objects) for one in taken)
    width = max(map(len, class_names))
    for label, name in enumerate(class_names):
        own = [int((one.objects.labels == label).sum()) for one in taken]
        images = sum(number > 0 for number in own)
        lines.append(
            f"  {name.ljust(width)}  score {thresholds[label]:g}: {sum(own)} objects "
            f"({100 * sum(own) / max(objects, 1):.1f} %) in {images} images ({100 * images / max(len(taken), 1):.1f} %)"
        )
    return "\n".join(lines)


def run(args: argparse.Namespace) -> int:
    """`pseudo_label` with the flags of `pseudo_label_parser`."""
    return pseudo_label(
        config_of(args),
        images=args.infer_img or args.infer_dir,
        output=args.output,
        scores=parse_scores(args.score),
        min_area=args.min_area,
        reject_from=args.reject_from,
        keep_empty=args.keep_empty,
    )
