"""Data sets and loaders that a configuration describes."""

import contextlib
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ppdet_ext.data.datasets import FashionDataSet, MixedDataSet, SteelDataSet
from ppdet_ext.data.synthetic import KINDS, SampleSpec, write_sample_set
from ppdet_ext.data.synthetic.writer import META, PROGRESS
from ppdet_ext.distributed import world
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.host.registry import SECTIONS

from .balanced import SamplerSpec
from .loader import build_loader

# Who reads the layout of each kind of sample.
READ_BY: dict[str, type[SteelDataSet] | type[FashionDataSet]] = {"steel": SteelDataSet, "fashion": FashionDataSet}

SECTIONS["SampleData"] = SampleSpec
SECTIONS["TrainReader.sampler"] = SamplerSpec
logger = logging.getLogger("ppdet_ext")


@contextlib.contextmanager
def _naming(section: str) -> Iterator[None]:
    """Values that the classes of a section cannot work with are a UserError naming the section."""
    try:
        yield
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        text = f"{section} does not work with its configured values: {type(error).__name__}: {error}"
        raise UserError(f"{text} (--traceback shows where).") from error


def load_dataset(cfg: Config, key: str) -> Any:
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


def prepare_sample(cfg: Config) -> None:
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


def make_loader(cfg: Config, dataset: Any, mode: str, skip: Collection[int] = ()) -> Any:
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


def reader_of(cfg: Config, mode: str) -> dict[str, Any]:
    """Settings of the reader of `mode`. Raises: UserError when there is none."""
    key = f"{mode.capitalize()}Reader"
    if not cfg.get(key):
        raise UserError(f"The configuration has no {key}; give one with sample_transforms and batch_size.")
    return dict(cfg[key])
