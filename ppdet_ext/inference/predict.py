"""Running a model over a data set: every rank predicts its part, and the parts become one list again."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import paddle

from ppdet_ext import distributed
from ppdet_ext.distributed import interrupt
from ppdet_ext.distributed.progress import track
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.structures import Record

Result = TypeVar("Result")


class Switchable(Protocol):
    """What has a training and an evaluation mode."""

    @property
    def training(self) -> bool: ...

    def eval(self) -> None: ...

    def train(self) -> None: ...


def predict(
    model: Switchable,
    loader: Iterable[Mapping[str, Any]],
    images: int,
    title: str,
    apply: Callable[[Mapping[str, Any]], Sequence[Result]] | None = None,
) -> Iterator[tuple[int, str, Result]]:
    """Predict: (image id, name, result) of each image of the loader; the model's train/eval mode is put back at the end.

    Args:
        model: put into eval mode meanwhile.
        loader: batches, all or those of this rank.
        images: number of images in them, for the progress display.
        title: of the progress display.
        apply: a batch -> the result of each image; None calls the model.

    Raises:
        KeyboardInterrupt: after the batch in which a signal came (see `interrupt`).
        DivergenceError: the model's output is not finite; names the images.
    """
    called: Any = apply or model
    training = model.training
    model.eval()
    try:
        for number, batch in enumerate(track(loader, images, title, lambda batch: len(batch["names"]))):
            interrupt.check()
            distributed.phase(f"{title}, batch {number}")
            try:
                with paddle.no_grad():
                    results = called(batch)
            except DivergenceError as error:
                raise DivergenceError(f"{error} (images: {', '.join(map(str, batch['names']))})") from error
            for im_id, name, result in zip(np.asarray(batch["im_id"]).reshape(-1), batch["names"], results):
                yield int(im_id), str(name), result
    finally:
        if training:
            model.train()


def in_order(records: Sequence[Record], shards: Sequence[Sequence[tuple[int, Result]]] | None) -> list[tuple[int, Result]]:
    """The (image id, result) pairs of all ranks in the order of the data set.

    Args:
        records: of the data set.
        shards: the pairs of each rank, as rank 0 has them.

    Raises:
        UserError: an image of the data set is missing, or has several results.
    """
    by_image: dict[int, list[tuple[int, Result]]] = {record.im_id: [] for record in records}
    for rank, shard in enumerate(shards or ()):
        for im_id, result in shard:
            by_image.setdefault(im_id, []).append((rank, result))
    names = {record.im_id: record.name for record in records}
    faults = [
        f"{names.get(im_id, 'unknown')} (id {im_id}) {_by(results)}"
        for im_id, results in by_image.items()
        if len(results) != 1 or im_id not in names
    ]
    if faults:
        raise UserError(
            f"Of {len(records)} images, {len(faults)} were not predicted once: {'; '.join(faults[:10])}. "
            f"The ranks ({len(shards or ())}) predicted {', '.join(str(len(shard)) for shard in shards or ())} images; "
            "all of them must read the same data set."
        )
    return [(im_id, results[0][1]) for im_id, results in by_image.items()]


def _by(results: Sequence[tuple[int, Any]]) -> str:
    return f"by ranks {', '.join(str(rank) for rank, _ in results)}" if results else "by none"
