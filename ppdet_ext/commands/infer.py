"""Predicting images without annotations: pictures and result files."""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cv2

from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.data.images.decode import read_image
from ppdet_ext.data.loading.build import load_dataset, reader_of
from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation.run import in_order, predict
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.host import Config
from ppdet_ext.inference.build import inference_loader, inference_of, lowest_score
from ppdet_ext.inference.draw import draw_detections
from ppdet_ext.structures import Detections

from .eval import among_ranks

Result = TypeVar("Result")
Outcome = TypeVar("Outcome")
logger = logging.getLogger("ppdet_ext.engine")
BOX_FILE, MASK_FILE, IMAGES_FILE = "bbox.json", "mask.json", "images.json"


def class_list(cfg: Config) -> tuple[list[str], list[int], bool]:
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


def reads_exif(cfg: Config) -> bool:
    """Whether TestReader turns pictures as their EXIF orientation says. Raises: UserError when there is no TestReader."""
    for entry in reader_of(cfg, "test").get("sample_transforms") or ():
        if isinstance(entry, Mapping) and "ReadImage" in entry:
            return bool((entry["ReadImage"] or {}).get("exif", True))
    return True


class Predictor:
    """Model, images and class names of an inference run.

    Args:
        cfg: from `load_config`; `weights` and TestReader are used, and TestDataset where no images are given.
        images: a picture, a folder of pictures, or None.

    Raises:
        UserError: for what the user can mend.
    """

    def __init__(self, cfg: Config, images: str | None) -> None:
        if images is None and cfg.get("TestDataset") is None:
            raise UserError("Nothing to predict: give --infer_img, --infer_dir, or TestDataset in the configuration.")
        self.exif = reads_exif(cfg)
        self.class_names, self.category_ids, self.invented = class_list(cfg)
        self.cfg, self.model = cfg, inference_of(cfg, self.class_names, self.category_ids, "test")
        # Only now, since members of other configurations have this one loaded anew.
        if isinstance(cfg.get("TestDataset"), ImageFolder):
            # Pictures without annotations have no sizes but those that the reader sees.
            cfg.TestDataset.exif = self.exif
        if images is None:
            self.dataset = load_dataset(cfg, "TestDataset")
        else:
            self.dataset = ImageFolder(images, self.class_names, self.category_ids, self.exif).load()
        self.model.check_names(self.dataset)
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

    def predictions(self, title: str, skip: Collection[int] = ()) -> Iterator[tuple[int, str, Detections]]:
        """(image id, file name, detections) of this rank's images.

        Args:
            title: of the progress display.
            skip: ids of images that need not be predicted; some of them come all the same, with others of their batch.
        """
        loader = inference_loader(self.cfg, self.dataset, "test", skip)
        return predict(self.model, loader, loader.images, title)

    def run(self, use: Callable[[Path, Detections], Result], finish: Callable[[list[tuple[int, Result]]], Outcome]) -> Outcome:
        """Predict: every rank its part; returns on all ranks what `finish` gives on rank 0.

        Args:
            use: called on the image's file and what was found there, by the rank that predicted it; picklable result.
            finish: called on rank 0 with (image id, result of `use`) of all images in the data set's order.
        """
        files = {record.im_id: Path(record.file) for record in self.dataset.records}
        shards = on_every_rank(
            lambda: [(im_id, use(files[im_id], found)) for im_id, _, found in self.predictions("Infer")], "prediction"
        )
        return on_rank_0(lambda: finish(in_order(self.dataset.records, shards)), "writing the results")


def infer(
    cfg: Config,
    *,
    images: str | None,
    output_dir: str | Path,
    draw_threshold: float | None = None,
    save_results: bool = False,
) -> int:
    """Write a picture with masks, boxes, class names and scores for each image; returns the number of images.

    Args:
        cfg: from `load_config`.
        images: a picture, a folder, or None for TestDataset's.
        output_dir: folder for pictures (named as the images) and results.
        draw_threshold: lowest score drawn, see `lowest_score`.
        save_results: also write `bbox.json` and `mask.json` (COCO results, all scores) and `images.json`
            (id, file_name).

    Raises:
        UserError: for what the user can mend.
    """
    draw_threshold = lowest_score(cfg, draw_threshold)
    folder = Path(output_dir)
    with among_ranks(cfg):
        predictor = Predictor(cfg, images)
        _check_folder(folder, predictor)
        for name in (BOX_FILE, MASK_FILE, IMAGES_FILE):
            demand_writable(folder / name, "--output_dir")
        if save_results:
            predictor.warn_of_invented_classes()

        def draw(file: Path, detections: Detections) -> tuple[int, Detections | None]:
            picture = draw_detections(read_image(str(file), predictor.exif), detections, predictor.class_names, draw_threshold)
            _write_picture(folder / file.name, picture)
            return int((detections.scores >= draw_threshold).sum()), detections if save_results else None

        predictor.run(draw, lambda done: _finish(done, predictor, folder, draw_threshold, save_results))
    return len(predictor.names)


def _finish(
    done: list[tuple[int, tuple[int, Detections | None]]],
    predictor: Predictor,
    folder: Path,
    threshold: float,
    save_results: bool,
) -> None:
    """Write the result files from (image id, (objects drawn, detections)), and log."""
    if save_results:
        boxes, masks = _results([(im_id, detections) for im_id, (_, detections) in done], predictor.category_ids)
        listed = [{"id": im_id, "file_name": name} for im_id, name in predictor.names.items()]
        for name, content in ((BOX_FILE, boxes), (MASK_FILE, masks), (IMAGES_FILE, listed)):
            text = json.dumps(content)
            write_atomic(folder / name, lambda aside, text=text: aside.write_text(text), "--output_dir")
    drawn = sum(count for _, (count, _) in done)
    logger.info("%d images, %d objects of score %g or more drawn, in %s", len(done), drawn, threshold, folder)


def _check_folder(folder: Path, predictor: Predictor) -> None:
    """Pictures are named as the images are: in their folder they would replace them."""
    sources = {Path(record.file).resolve().parent: record.file for record in predictor.dataset.records}
    if folder.resolve() in sources:
        raise UserError(
            f"--output_dir {folder} holds the images themselves (such as {sources[folder.resolve()]}); "
            "the pictures would be written over them. Choose another --output_dir."
        )


def _results(
    found: Iterable[tuple[int, Detections]], category_ids: list[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Boxes and masks as COCO results that JSON can hold."""
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    for im_id, detections in found:
        box_results, mask_results = detections.to_coco(im_id, category_ids)
        boxes.extend(box_results)
        for result in mask_results:
            counts = result["segmentation"]["counts"]
            text = counts.decode("ascii") if isinstance(counts, bytes) else counts
            masks.append({**result, "segmentation": {**result["segmentation"], "counts": text}})
    return boxes, masks


def _write_picture(path: Path, picture: Any) -> None:
    suffix = path.suffix.lower() if path.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png"
    done, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise UserError(f"The picture of {path.name} cannot be encoded as {suffix}.")
    target = path if path.suffix.lower() == suffix else path.with_name(path.name + suffix)
    write_atomic(target, lambda aside: aside.write_bytes(data.tobytes()), "--output_dir")
