"""What each of two ranks evaluates in turn, and what it gets: data of 21 images, a model that is often wrong."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
from tiny_data import HEIGHT, write_coco, write_jpeg

from ppdet_ext import distributed
from ppdet_ext.data.datasets import CocoJsonDataSet
from ppdet_ext.data.loading import build_loader
from ppdet_ext.distributed import interrupt
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.evaluation.run import Evaluation, run_evaluation
from ppdet_ext.structures import Detections, Rle
from ppdet_ext.training.hooks import Evaluate
from ppdet_ext.training.state import TrainState

IMAGES, BATCH = 21, 2
FOLDER = "EVALUATION_CASES_DATA"
READER = {
    "sample_transforms": [{"ReadImage": {}}, {"NormalizeToCHW": {}}],
    "batch_transforms": [{"PadToStride": {"stride": 16}}],
}


def write_data(folder: Path) -> None:
    """21 images of several widths, in each two objects of several sizes."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "pit"}, {"id": 7, "name": "scratch"}]}
    for number in range(IMAGES):
        im_id, width = number + 1, 40 + 16 * (number % 4)
        name = f"{number:02d}.jpg"
        write_jpeg(folder / "images" / name, HEIGHT, width, seed=number)
        content["images"].append({"id": im_id, "file_name": name, "height": HEIGHT, "width": width})
        for object_id in (2 * number + 1, 2 * number + 2):
            box = [int(rng.integers(0, width - 26)), int(rng.integers(0, 6)), *rng.integers(6, 26, 2).tolist()]
            content["annotations"].append(_annotation(object_id, im_id, int(rng.choice([3, 7])), box))
    write_coco(folder, content)


def _annotation(object_id: int, im_id: int, category_id: int, box: list[int]) -> dict[str, Any]:
    x, y, w, h = box
    outline = [x, y, x + w, y, x + w, y + h, x, y + h]
    shape = {"bbox": box, "area": w * h, "segmentation": [outline]}
    return {"id": object_id, "image_id": im_id, "category_id": category_id, "iscrowd": 0, **shape}


def dataset_of(folder: Path, images: int = IMAGES) -> CocoJsonDataSet:
    """Its first images."""
    dataset = CocoJsonDataSet(str(folder), "instances.json", "images").load()
    dataset._records = dataset._records[:images]
    return dataset


def loader_of(dataset: CocoJsonDataSet, *, batch_size: int = BATCH, worker_num: int = 0, world: tuple[int, int] | None = None):
    rank, size = world or distributed.world()
    reader = {**READER, "batch_size": batch_size}
    return build_loader(dataset, reader, mode="eval", worker_num=worker_num, rank=rank, world_size=size)


class Wrong(paddle.nn.Layer):
    """The objects displaced, with scores of which many are equal; depends on every bit of the padded batch.

    `act(number of the batch, batch)` is called first.
    """

    def __init__(self, dataset: CocoJsonDataSet, act: Callable[[int, dict], object] = lambda number, batch: None) -> None:
        super().__init__()
        self.known = {record.im_id: record for record in dataset.records}
        self.act, self.batches = act, 0

    def forward(self, batch: dict[str, Any]) -> list[Detections]:
        self.act(self.batches, batch)
        self.batches += 1
        return [self._found(int(im_id), batch["image"].numpy()[i]) for i, im_id in enumerate(batch["im_id"].tolist())]

    def _found(self, im_id: int, image: np.ndarray) -> Detections:
        record = self.known[im_id]
        rng = np.random.default_rng([im_id, *image.shape, int(image.sum().view(np.uint32))])
        boxes = np.repeat(record.boxes, 3, 0) + rng.integers(-2, 3, (6, 4))
        boxes = np.clip(boxes, 0, [record.width, HEIGHT] * 2).astype(np.float32)
        labels = np.where(rng.random(6) < 0.3, 1 - np.repeat(record.labels, 3), np.repeat(record.labels, 3))
        scores = rng.choice([0.3, 0.6, 0.9], 6).astype(np.float32)
        return Detections(
            HEIGHT, record.width, boxes, scores, labels, [_filled(box, record.width) for box in boxes.astype(int)]
        )


def _filled(box: np.ndarray, width: int) -> Rle:
    bitmap = np.zeros((HEIGHT, width), np.uint8)
    x1, y1, x2, y2 = box
    bitmap[y1:y2, x1:x2] = 1
    return Rle.from_bitmap(bitmap)


def evaluation(worker_num: int = 0, images: int = IMAGES, batch_size: int = BATCH, world=None) -> Evaluation:
    dataset = dataset_of(Path(os.environ[FOLDER]), images)
    loader = loader_of(dataset, batch_size=batch_size, worker_num=worker_num, world=world)
    try:
        return run_evaluation(Wrong(dataset), dataset, loader)
    finally:
        loader.close()


def numbers(**options) -> Callable[[int], Any]:
    def case(rank: int) -> tuple[Any, ...]:
        outcome = evaluation(**options)
        return outcome.numbers, outcome.images, outcome.seconds, outcome.metrics == []

    return case


def failing(act: Callable[[int, dict], object], on: int = 1, worker_num: int = 0) -> Callable[[int], Any]:
    """Rank `on` does `act` before each batch; gives type and text of the exception, and how many batches were predicted."""

    def case(rank: int) -> tuple[str, str, int]:
        dataset = dataset_of(Path(os.environ[FOLDER]))
        model = Wrong(dataset, act if rank == on else lambda number, batch: None)
        loader = loader_of(dataset, worker_num=worker_num)
        model.loader = loader
        with contextlib.closing(loader):
            return *_raised(lambda: run_evaluation(model, dataset, loader)), model.batches

    return case


def _raised(work: Callable[[], object]) -> tuple[str, str]:
    try:
        work()
    except (Exception, KeyboardInterrupt) as error:
        return type(error).__name__, str(getattr(error, "signum", error))
    return "nothing", ""


def fail(error: Exception) -> Callable[[int, dict], None]:
    """In the third batch."""

    def act(number: int, batch: dict) -> None:
        if number == 2:
            raise error

    return act


def broken_image(rank: int) -> tuple[str, str]:
    """The third image, the first of rank 1, is a truncated file."""
    dataset = dataset_of(Path(os.environ[FOLDER]))
    third = Path(dataset.records[2].file)
    if rank == 1:
        dataset.records[2].file = str(third.with_suffix(".cut.jpg"))
        Path(dataset.records[2].file).write_bytes(third.read_bytes()[:300])
    loader = loader_of(dataset, worker_num=2)
    with contextlib.closing(loader):
        return _raised(lambda: run_evaluation(Wrong(dataset), dataset, loader))


def dead_worker(rank: int) -> tuple[str, str]:
    dataset = dataset_of(Path(os.environ[FOLDER]))
    loader = loader_of(dataset, worker_num=1)

    def kill(number: int, batch: dict) -> None:
        [worker] = loader._workers
        if rank == 1 and worker.process.is_alive():
            worker.process.kill()
            worker.process.join()

    with contextlib.closing(loader):
        return _raised(lambda: run_evaluation(Wrong(dataset, kill), dataset, loader))


def stopped(signum: int, on: int) -> Callable[[int], Any]:
    def case(rank: int) -> tuple[str, str, int]:
        with interrupt.deferred():
            return failing(lambda number, batch: os.kill(os.getpid(), signum), on)(rank)

    return case


def other_shards(world: Callable[[int], tuple[int, int]]) -> Callable[[int], Any]:
    """Ranks whose loaders are not those of two ranks."""
    return lambda rank: _raised(lambda: evaluation(world=world(rank)))


def failing_on_rank_0(rank: int) -> tuple[str, str]:
    """The predictions do not fit the data set."""
    dataset = dataset_of(Path(os.environ[FOLDER]))
    return _raised(lambda: run_evaluation(Wrong(dataset), _renamed(dataset), loader_of(dataset)))


def _renamed(dataset: CocoJsonDataSet) -> SimpleNamespace:
    return SimpleNamespace(records=dataset.records, class_names=["pit"], category_ids=[3], annotated=True)


def statistics_of_rank_0(rank: int) -> tuple[float, dict]:
    """What a model with this rank's batch-norm statistics is evaluated with at the end of an epoch."""
    model = paddle.nn.BatchNorm1D(1)
    model._mean.set_value(np.array([10.0 + rank], np.float32))
    state = TrainState(model, None, epochs=1, steps_per_epoch=1, batch_size=1, saver=lambda *args: None)
    Evaluate(lambda evaluated: ({"mean": [float(evaluated._mean.numpy()[0])]}, {}), 1).after_epoch(state)
    return state.metrics


CASES: dict[str, Callable[[int], Any]] = {
    "no workers": numbers(),
    "two workers": numbers(worker_num=2),
    "two batches": numbers(images=3),
    "one batch": numbers(images=2),
    "UserError": failing(fail(UserError("no such thing"))),
    "DivergenceError": failing(fail(DivergenceError("boxes are NaN"))),
    "another error": failing(fail(KeyError("lost"))),
    "error on rank 0": failing(fail(UserError("no such thing")), on=0),
    "broken image": broken_image,
    "dead worker": dead_worker,
    "SIGUSR1": stopped(signal.SIGUSR1, 1),
    "SIGTERM": stopped(signal.SIGTERM, 0),
    "missing": other_shards(lambda rank: (rank, 3)),
    "twice": other_shards(lambda rank: (0, 2)),
    "error in metrics": failing_on_rank_0,
    "statistics": statistics_of_rank_0,
    "in order again": numbers(),
}
