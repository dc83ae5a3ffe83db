"""Predicting images without annotations: pictures and result files."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ppdet_ext.data.images.decode import read_image_of
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.drawing.detections import draw_detections, why_nothing_is_drawn
from ppdet_ext.drawing.files import SUFFIXES, drawn_name, write_picture
from ppdet_ext.drawing.fonts import drawable_names
from ppdet_ext.drawing.maps import draw_map_panels
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.atomic import demand_writable
from ppdet_ext.host import Config
from ppdet_ext.inference.outputs import COCO, ResultFiles
from ppdet_ext.inference.predictor import ImagePredictor, lowest_score
from ppdet_ext.inference.presence import is_classifier, told
from ppdet_ext.postprocess import write_gate_file
from ppdet_ext.structures import Candidates, Detections
from ppdet_ext.submission.header import origin_of

from .cli import config_of

PROBABILITIES = "--save_probabilities"
MAPS = ".maps.png"  # behind the name of an image
logger = logging.getLogger("ppdet_ext")


def infer(
    cfg: Config,
    *,
    images: str | None,
    output_dir: str | Path,
    draw_threshold: float | None = None,
    save_results: bool | str | Sequence[str] = False,
    mm_per_pixel: float | None = None,
    save_probabilities: str | Path | None = None,
    draw_maps: bool = False,
    num_images: int | None = None,
) -> int:
    """Write a picture with masks, boxes, class names and scores for each image; returns the number of images.

    Args:
        cfg: from `load_config`.
        images: a picture, a folder, or None for TestDataset's.
        output_dir: folder for pictures (named as the images, in their sub-folders) and results.
        draw_threshold: lowest score drawn, see `lowest_score`.
        save_results: also write `bbox.json` and `mask.json` (COCO results, all scores) and `images.json`
            (id, file_name), and `origin.json`: which weights they are of. Or which kinds of results, see `ResultFiles`.
        mm_per_pixel: side of a pixel in millimetres, for the table of measurements.
        save_probabilities: CSV file for what the model says of whole images, as `ClassifierGate.file` reads it.
        draw_maps: write `<image>.maps.png` too, see `drawing.maps`.
        num_images: only the first so many images; None: all.

    Raises:
        UserError: for what the user can mend.
    """
    draw_threshold = lowest_score(cfg, draw_threshold)
    folder = Path(output_dir)
    results = ResultFiles(folder, save_results, draw_threshold, mm_per_pixel)
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        predictor = ImagePredictor(cfg, images, num_images)
        _check_folder(folder, predictor)
        painter = _Painter(predictor, folder, draw_threshold, draw_maps)
        results.check(predictor)
        table = None if save_probabilities is None else Path(save_probabilities)
        if table is not None:
            demand_writable(table, PROBABILITIES)
        if results.kinds:
            predictor.warn_of_invented_classes()
        # As loaded: a training may write better weights in the meantime.
        origin = origin_of(cfg) if COCO in results.kinds else None

        def draw(file: Path, candidates: Candidates, detections: Detections) -> Drawn:
            presence = told(candidates.presence, cfg) if table is not None else None
            count = painter.paint(file, candidates, detections)
            return Drawn(count, float(detections.scores.max(initial=0)), detections if results.kinds else None, presence)

        predictor.over_all_candidates(draw, lambda done: _finish(done, predictor, results, origin, table))
    return len(predictor.names)


class _Painter:
    """Draws images, in sub-folders of `folder` where the data set names them so. UserError where two have one name."""

    def __init__(self, predictor: ImagePredictor, folder: Path, threshold: float, with_maps: bool) -> None:
        self.folder, self.threshold, self.with_maps = folder, threshold, with_maps
        self.reading, self.architecture, self.places = predictor.reading, predictor.cfg.architecture, _places(predictor, folder)
        self.names = drawable_names(predictor.class_names, predictor.category_ids)

    def paint(self, file: Path, candidates: Candidates, detections: Detections) -> int:
        """Write the picture, or both, of an image; returns how many objects are drawn."""
        if self.with_maps and candidates.maps is None:
            raise UserError(
                f"--draw_maps: {self.architecture} has no maps of pixels' probabilities; leave the flag out, or take "
                "a SemanticSegmentor, also as a member of an Ensemble."
            )
        image = read_image_of(str(file), (detections.height, detections.width), self.reading)
        target = self.folder / self.places[file]
        write_picture(target, draw_detections(image, detections, self.names, self.threshold))
        if self.with_maps:
            panels = draw_map_panels(image, candidates, detections, self.names)
            name = target.name if file.suffix.lower() in SUFFIXES else target.stem
            write_picture(target.with_name(name + MAPS), panels)
        return int((detections.scores >= self.threshold).sum())


class Drawn(NamedTuple):
    """Of an image: how many objects are drawn, the highest score of all (0: none), and what is to be written of it."""

    drawn: int
    highest: float
    detections: Detections | None
    presence: np.ndarray | None


def _finish(
    done: list[tuple[int, Drawn]],
    predictor: ImagePredictor,
    results: ResultFiles,
    origin: dict[str, Any] | None,
    table: Path | None,
) -> None:
    """Write the files of (image id, what was drawn), and log."""
    if table is not None:
        rows = [(predictor.names[im_id], own.presence) for im_id, own in done if own.presence is not None]
        write_gate_file(table, rows, predictor.class_names, predictor.category_ids, PROBABILITIES)
        logger.info(
            "Wrote %s: probabilities of %d classes in %s", table, len(predictor.class_names), counted(len(rows), "images")
        )
    results.write([(im_id, own.detections) for im_id, own in done if own.detections is not None], predictor, origin)
    # A classifier's are classes of whole images.
    things = "labels" if is_classifier(predictor.cfg) else "objects"
    drawn = counted(sum(own.drawn for _, own in done), f"{things} of score {results.lowest:g} or more drawn")
    logger.info("%s, %s, in %s", counted(len(done), "images"), drawn, results.folder)
    if done and not any(own.drawn for _, own in done):
        logger.info("%s", why_nothing_is_drawn(max(own.highest for _, own in done), things))


def _check_folder(folder: Path, predictor: ImagePredictor) -> None:
    """Pictures are named as the images are: in their folder they would replace them."""
    sources = {Path(record.file).resolve().parent: record.file for record in predictor.dataset.records}
    if folder.resolve() in sources:
        raise UserError(
            f"--output_dir {folder} holds the images themselves (such as {sources[folder.resolve()]}); "
            "the pictures would be written over them. Choose another --output_dir."
        )


def _places(predictor: ImagePredictor, folder: Path) -> dict[Path, Path]:
    """File of an image -> file of its picture below --output_dir: in sub-folders, where the data set names the image so.

    Raises: UserError where pictures would be written over each other, or over the images.
    """
    places = {}
    for record in predictor.dataset.records:
        name = Path(record.name)
        outside = name.is_absolute() or ".." in name.parts
        name = Path(name.name) if outside else name
        places[Path(record.file)] = drawn_name(name)
    if len({*places.values()}) < len(places):
        raise UserError("Two images have the same file name; their pictures would be written over each other.")
    images = {file.resolve() for file in places}
    for file, place in places.items():
        if (folder / place).resolve() in images:
            raise UserError(
                f"--output_dir {folder}: the picture of {file} would be written over an image, {place}. "
                "Choose another --output_dir."
            )
    return places


def run(args: argparse.Namespace) -> int:
    """`infer` with the flags of `infer_parser`."""
    return infer(
        config_of(args),
        images=args.infer_img or args.infer_dir,
        output_dir=args.output_dir,
        draw_threshold=args.draw_threshold,
        save_results=args.save_results,
        mm_per_pixel=args.mm_per_pixel,
        save_probabilities=args.save_probabilities,
        draw_maps=args.draw_maps,
        num_images=args.num_images,
    )
