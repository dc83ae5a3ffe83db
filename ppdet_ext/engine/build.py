"""Making the parts a configuration describes: data sets, loaders, model, optimizer."""

import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import paddle
from ppdet.core.workspace import AttrDict, create

from ppdet_ext.data import FashionDataSet, MixedDataSet, SteelDataSet, build_loader
from ppdet_ext.data.base import InstanceDataSet
from ppdet_ext.data.sample import KINDS, SampleSpec, write_sample_set
from ppdet_ext.data.sample.writer import META, PROGRESS
from ppdet_ext.errors import UserError

from .distributed import world
from .together import on_rank_0

# Who reads the layout of each kind of sample.
READ_BY: dict[str, type[InstanceDataSet]] = {"steel": SteelDataSet, "fashion": FashionDataSet}

logger = logging.getLogger("ppdet_ext.engine")


def build_model(cfg: AttrDict) -> paddle.nn.Layer:
    """The configured architecture; UserError where its parts do not go together."""
    try:
        return create(cfg.architecture)
    except UserError:
        raise
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"The model {cfg.architecture} cannot be built from this configuration: {error}") from error


@contextlib.contextmanager
def _naming(section: str) -> Iterator[None]:
    """Values that the classes of a section cannot work with are a UserError naming the section."""
    try:
        yield
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        text = f"{section} does not work with its configured values: {type(error).__name__}: {error}"
        raise UserError(f"{text} (--debug shows where).") from error


def load_dataset(cfg: AttrDict, key: str) -> Any:
    """The data set under `key` ('TrainDataset', …), read.

    Raises:
        UserError: not configured, not readable, or with another number of classes than `num_classes`.
    """
    dataset = cfg.get(key)
    if dataset is None:
        raise UserError(f"The configuration has no {key}; give one, for example '{key}: !SteelDataSet {{…}}'.")
    prepare_sample(cfg)
    with _naming(key):
        dataset.load()
    # Pictures without annotations know no classes.
    if dataset.num_classes not in (0, cfg.num_classes):
        raise UserError(
            f"num_classes is {cfg.num_classes}, but {key} has {dataset.num_classes} classes "
            f"({', '.join(map(str, dataset.class_names[:6]))}{', …' if dataset.num_classes > 6 else ''}). "
            f"Set num_classes: {dataset.num_classes}"
        )
    return dataset


def prepare_sample(cfg: AttrDict) -> None:
    """Make TrainDataset's folder with the sample generator, if `SampleData` asks for it and it holds nothing else.

    Nothing is made for a data set of another class than the kind of sample is for. Of several ranks, which all must call
    this, rank 0 does it.
    """
    wanted = cfg.get("SampleData")
    if wanted is None:
        return
    spec = SampleSpec(**wanted)
    dataset = cfg.get("TrainDataset")
    dataset = dataset.labelled if isinstance(dataset, MixedDataSet) else dataset
    if isinstance(dataset, READ_BY[spec.kind]):
        on_rank_0(lambda: _make_sample(spec, Path(dataset.dataset_dir)), "the sample data")


def _make_sample(spec: SampleSpec, folder: Path) -> None:
    known = (folder / META).is_file() or (folder / PROGRESS).is_file()
    if folder.exists() and any(folder.iterdir()) and not known:
        return
    if not (folder / META).is_file():
        logger.info("Making %d sample %ss in %s (once)", spec.images, KINDS[spec.kind].noun, folder)
    write_sample_set(folder, spec)


def make_loader(cfg: AttrDict, dataset: Any, mode: str, skip: Collection[int] = ()) -> Any:
    """Loader over a read data set by the reader of `mode` ('train', 'eval', 'test'): this rank's part of it.

    skip: ids of images to leave out, in evaluation; a batch that holds others too stays whole.
    """
    reader = reader_of(cfg, mode)
    rank, size = world()
    with _naming(f"{mode.capitalize()}Reader"):
        return build_loader(
            dataset,
            reader,
            mode=mode,
            worker_num=cfg.worker_num,
            seed=cfg.seed,
            rank=rank,
            world_size=size,
            skip=skip,
        )


def reader_of(cfg: AttrDict, mode: str) -> dict[str, Any]:
    """Settings of the reader of `mode`. Raises: UserError when there is none."""
    key = f"{mode.capitalize()}Reader"
    if not cfg.get(key):
        raise UserError(f"The configuration has no {key}; give one with sample_transforms and batch_size.")
    return dict(cfg[key])


def build_optimizer(
    cfg: AttrDict,
    model: paddle.nn.Layer,
    steps_per_epoch: int,
) -> tuple[paddle.optimizer.lr.LRScheduler, paddle.optimizer.Optimizer]:
    """Learning-rate schedule (its epochs are `steps_per_epoch` steps) and optimizer, by ppdet's builders."""
    try:
        schedule = create("LearningRate")(steps_per_epoch)
        optimizer = create("OptimizerBuilder")(schedule, model)
    except (AssertionError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"LearningRate or OptimizerBuilder cannot be built: {type(error).__name__}: {error}") from error
    boundaries: Sequence[int] = getattr(schedule, "boundaries", ())
    if any(later < earlier for earlier, later in pairwise(boundaries)):
        raise UserError(
            f"LearningRate: with {steps_per_epoch} steps per epoch the warm-up does not end before the first "
            "milestone, or milestones are not ascending. Shorten LinearWarmup.steps or move the milestones."
        )
    return schedule, optimizer
