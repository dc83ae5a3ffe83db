"""Predicting images without annotations: pictures, result files, submissions."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from ppdet.core.workspace import AttrDict

from ppdet_ext.data import ImageFolder
from ppdet_ext.data.decode import read_image
from ppdet_ext.errors import UserError
from ppdet_ext.inference.draw import draw_detections
from ppdet_ext.inference.submission import read_submission, write_kaggle_submission
from ppdet_ext.structures import Detections

from .build import load_dataset, make_loader
from .checkpoint import write_atomic
from .eval import model_with_weights
from .evaluator import predict

logger = logging.getLogger("ppdet_ext.engine")
BOX_FILE, MASK_FILE, IMAGES_FILE = "bbox.json", "mask.json", "images.json"


def class_list(cfg: AttrDict) -> tuple[list[str], list[int], bool]:
    """Class names and category ids of the model: from the data sets, else 'class 1', 1 and so on (then True)."""
    for key in ("EvalDataset", "TrainDataset", "TestDataset"):
        dataset = cfg.get(key)
        try:
            if dataset is not None and dataset.num_classes != cfg.num_classes:
                dataset.load()
        except UserError as error:
            logger.info("Class names are not to be had from %s: %s", key, str(error).splitlines()[0])
            continue
        if dataset is not None and dataset.num_classes == cfg.num_classes:
            return [str(name) for name in dataset.class_names], list(dataset.category_ids), False
    numbers = list(range(1, cfg.num_classes + 1))
    return [f"class {number}" for number in numbers], numbers, True


class Predictor:
    """Model, images and class names of an inference run; iterating predicts.

    Args:
        cfg: from `load_config`; `weights` and TestReader are used, and TestDataset where no images are given.
        images: a picture, a folder of pictures, or None.

    Raises:
        UserError: for what the user can mend.
    """

    def __init__(self, cfg: AttrDict, images: str | None) -> None:
        self.model = model_with_weights(cfg)
        if images is None and cfg.get("TestDataset") is None:
            raise UserError("Nothing to predict: give --infer_img, --infer_dir, or TestDataset in the configuration.")
        self.class_names, self.category_ids, self.invented = class_list(cfg)
        if images is None:
            self.dataset = load_dataset(cfg, "TestDataset")
        else:
            self.dataset = ImageFolder(images, self.class_names, self.category_ids).load()
        self.loader = make_loader(cfg, self.dataset, "test")
        self.names = {record.im_id: record.name for record in self.dataset.records}
        if len(set(self.names.values())) < len(self.names):
            raise UserError("Two images have the same file name; their results could not be told apart.")

    def warn_of_invented_classes(self) -> None:
        """Say that the category ids of results to be saved are nobody's, if no data set could tell them."""
        if self.invented:
            logger.warning(
                "No data set tells the classes, so the results have category ids %d to %d in the order of the model's "
                "outputs; they may not be those of your annotations. Provide the annotations of EvalDataset or "
                "TrainDataset (dataset_dir, anno_path), or TestDataset with class_names and category_ids",
                self.category_ids[0],
                self.category_ids[-1],
            )

    def __iter__(self) -> Iterator[tuple[int, Path, Detections]]:
        files = {record.im_id: Path(record.file) for record in self.dataset.records}
        for im_id, _, detections in predict(self.model, self.loader, len(files), "Infer"):
            yield im_id, files[im_id], detections


def infer(
    cfg: AttrDict,
    *,
    images: str | None,
    output_dir: str | Path,
    draw_threshold: float = 0.5,
    save_results: bool = False,
) -> int:
    """Write a picture with masks, boxes, class names and scores for each image; returns the number of images.

    Args:
        cfg: from `load_config`.
        images: a picture, a folder, or None for TestDataset's.
        output_dir: folder for pictures (named as the images) and results.
        draw_threshold: lowest score drawn.
        save_results: also write `bbox.json` and `mask.json` (COCO results, all scores) and `images.json`
            (id, file_name).

    Raises:
        UserError: for what the user can mend.
    """
    _check_threshold(draw_threshold)
    folder = Path(output_dir)
    predictor = Predictor(cfg, images)
    _check_folder(folder, predictor)
    if save_results:
        predictor.warn_of_invented_classes()
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    drawn = 0
    for im_id, file, detections in predictor:
        picture = draw_detections(read_image(str(file)), detections, predictor.class_names, draw_threshold)
        _write_picture(folder / file.name, picture)
        drawn += int((detections.scores >= draw_threshold).sum())
        if save_results:
            _collect(detections, im_id, predictor.category_ids, boxes, masks)
    if save_results:
        listed = [{"id": im_id, "file_name": name} for im_id, name in predictor.names.items()]
        for name, content in ((BOX_FILE, boxes), (MASK_FILE, masks), (IMAGES_FILE, listed)):
            text = json.dumps(content)
            write_atomic(folder / name, lambda aside, text=text: aside.write_text(text), "--output_dir")
    logger.info("%d images, %d objects of score %g or more drawn, in %s", len(predictor.names), drawn, draw_threshold, folder)
    return len(predictor.names)


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise UserError(f"--draw_threshold is {threshold:g}; scores lie between 0 and 1.")


def _check_folder(folder: Path, predictor: Predictor) -> None:
    """Pictures are named as the images are: in their folder they would replace them."""
    sources = {Path(record.file).resolve().parent: record.file for record in predictor.dataset.records}
    if folder.resolve() in sources:
        raise UserError(
            f"--output_dir {folder} holds the images themselves (such as {sources[folder.resolve()]}); "
            "the pictures would be written over them. Choose another --output_dir."
        )


def _collect(
    detections: Detections,
    im_id: int,
    category_ids: list[int],
    boxes: list[dict[str, Any]],
    masks: list[dict[str, Any]],
) -> None:
    box_results, mask_results = detections.to_coco(im_id, category_ids)
    boxes.extend(box_results)
    for result in mask_results:
        counts = result["segmentation"]["counts"]
        text = counts.decode("ascii") if isinstance(counts, bytes) else counts
        masks.append({**result, "segmentation": {**result["segmentation"], "counts": text}})


def _write_picture(path: Path, picture: Any) -> None:
    suffix = path.suffix.lower() if path.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png"
    done, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise UserError(f"The picture of {path.name} cannot be encoded as {suffix}.")
    target = path if path.suffix.lower() == suffix else path.with_name(path.name + suffix)
    write_atomic(target, lambda aside: aside.write_bytes(data.tobytes()), "--output_dir")


def submit(
    cfg: AttrDict,
    *,
    results: str | Path | None,
    images: str | None,
    output: str | Path,
    threshold: float = 0.5,
    style: str = "imageid_classid",
) -> int:
    """Write a Kaggle submission; returns its number of rows.

    Args:
        cfg: from `load_config`.
        results: folder of `infer(..., save_results=True)`; None predicts now.
        images: a picture, a folder, or None for TestDataset's.
        output: CSV file.
        threshold: lowest score that counts.
        style: see `write_kaggle_submission`.

    Raises:
        UserError: for what the user can mend.
    """
    _check_threshold(threshold)
    if results is not None:
        folder = Path(results)
        try:
            listed = json.loads((folder / IMAGES_FILE).read_text(encoding="utf-8"))
            names = {int(image["id"]): str(image["file_name"]) for image in listed}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / IMAGES_FILE} cannot be read ({error}); make it with infer.py --save_results") from error
        return _write_submission(folder / MASK_FILE, names, cfg.num_classes, output, style, threshold)
    predictor = Predictor(cfg, images)
    predictor.warn_of_invented_classes()
    masks: list[dict[str, Any]] = []
    for im_id, _, detections in predictor:
        _collect(detections.select(detections.scores >= threshold), im_id, predictor.category_ids, [], masks)
    return _write_submission(masks, predictor.names, cfg.num_classes, output, style, threshold)


def _write_submission(
    results: list[dict[str, Any]] | Path,
    names: dict[int, str],
    num_classes: int,
    output: str | Path,
    style: str,
    threshold: float,
) -> int:
    rows = write_kaggle_submission(results, names, num_classes, output, style=style, score_threshold=threshold)
    masks = read_submission(Path(output).read_text(encoding="utf-8"), style).values()
    filled = sum(bool(mask) for mask in masks)
    logger.info(
        "%d rows, one for each of %d images and each of %d classes: %d with a mask, %d blank",
        rows,
        len(names),
        num_classes,
        filled,
        rows - filled,
    )
    return rows
