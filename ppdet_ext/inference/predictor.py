"""`ImagePredictor`: a configuration's model on images that need no annotations."""

import copy
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ppdet_ext.config.keys import POSTPROCESS
from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.structures import Candidates, Detections, TestSettings

from .build import Inference, inference_loader, inference_of, reading_of, warn_of_more_objects
from .classes import class_list
from .predict import in_order, predict

Result = TypeVar("Result")
Outcome = TypeVar("Outcome")
logger = logging.getLogger("ppdet_ext")


def prepare(cfg: Config, key: str, settings: TestSettings | None = None) -> tuple[Inference, Any]:
    """What predicts, and the read data set under `key`. Raises: UserError for what the user can mend."""
    dataset = load_dataset(cfg, key)
    inference = inference_of(cfg, dataset.class_names, dataset.category_ids, settings=settings)
    inference.check_names(dataset)
    warn_of_more_objects(dataset, inference.settings)
    return inference, dataset


def lowest_score(cfg: Config, asked: float | None) -> float:
    """The score from which a detection is drawn or submitted: what was asked for, else 0.5, unless steps decide (0).

    Raises: UserError when it is no score.
    """
    if asked is None:
        return 0.0 if cfg.get(POSTPROCESS) else 0.5
    if not 0 <= asked <= 1:
        raise UserError(f"--draw_threshold is {asked:g}; scores lie between 0 and 1.")
    return asked


class ImagePredictor:
    """Model, images and class names of an inference run.

    Args:
        cfg: from `load_config`; `weights` and TestReader are used, and TestDataset where no images are given.
        images: a picture, a folder of pictures, or None.
        most: only the first so many images; None: all.

    Raises:
        UserError: for what the user can mend.
    """

    def __init__(self, cfg: Config, images: str | None, most: int | None = None) -> None:
        self.cfg, self.reading = cfg, reading_of(cfg, "test")
        # A mistyped path is said at once, before annotations and weights are read.
        self.dataset = _first(_images_of(cfg, images, self.reading.exif), most)
        self.names = {record.im_id: record.name for record in self.dataset.records}
        if len(set(self.names.values())) < len(self.names):
            raise UserError("Two images have the same file name; their results could not be told apart.")
        self.class_names, self.category_ids, self.invented = class_list(cfg)
        self.model = inference_of(cfg, self.class_names, self.category_ids, "test")
        self.model.check_names(self.dataset)

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
        return predict(self.model, loader, loader.images, title, self.model)

    def over_all(
        self, treat: Callable[[Path, Detections], Result], finish: Callable[[list[tuple[int, Result]]], Outcome]
    ) -> Outcome:
        """Predict: every rank its part; returns on all ranks what `finish` gives on rank 0.

        Args:
            treat: called on the image's file and what was found there, by the rank that predicted it; picklable result.
            finish: called on rank 0 with (image id, result of `treat`) of all images in the data set's order.
        """
        return self.over_all_candidates(lambda file, _, detections: treat(file, detections), finish)

    def over_all_candidates(
        self,
        treat: Callable[[Path, Candidates, Detections], Result],
        finish: Callable[[list[tuple[int, Result]]], Outcome],
    ) -> Outcome:
        """`over_all`, whose `treat` sees what the model has found and what the steps have made of it."""
        files = {record.im_id: Path(record.file) for record in self.dataset.records}

        def both(batch: Mapping[str, Any]) -> list[tuple[Candidates, Detections]]:
            candidates = self.model.candidates(batch)
            return list(zip(candidates, self.model.detections(batch, candidates)))

        loader = inference_loader(self.cfg, self.dataset, "test")
        found = predict(self.model, loader, loader.images, "Infer", both)
        results = ((im_id, treat(files[im_id], *own)) for im_id, _, own in found)
        shards = on_every_rank(lambda: list(results), "prediction")
        return on_rank_0(lambda: finish(in_order(self.dataset.records, shards)), "writing the results")


def _first(dataset: Any, most: int | None) -> Any:
    """The data set with its first images alone. UserError where that would be none."""
    if most is None:
        return dataset
    if most < 1:
        raise UserError(f"--num_images is {most}; give 1 or more.")
    dataset = copy.copy(dataset)
    dataset._records = dataset.records[:most]
    return dataset


def _images_of(cfg: Config, images: str | None, exif: bool) -> Any:
    """The images to predict, as a read data set."""
    if images is not None:
        return ImageFolder(images, exif=exif).load()
    dataset = cfg.get("TestDataset")
    if dataset is None:
        raise UserError("Nothing to predict: give --infer_img, --infer_dir, or TestDataset in the configuration.")
    if isinstance(dataset, ImageFolder):
        # Pictures without annotations have no sizes but those that the reader sees.
        dataset.exif = exif
    return load_dataset(cfg, "TestDataset")
