"""Data sets and loaders that a configuration describes."""

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ppdet_ext.data.datasets import CocoJsonDataSet, FashionDataSet, MixedDataSet, SteelDataSet
from ppdet_ext.data.images.check import ambiguous_orientations
from ppdet_ext.data.synthetic import KINDS, SampleSpec, write_sample_set
from ppdet_ext.data.synthetic.writer import META, PROGRESS
from ppdet_ext.distributed import world
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.errors import UserError, counted
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
            f"num_classes is {cfg.num_classes}, but {key} has {_classes(dataset.num_classes)} "
            f"({_listed(dataset.class_names)}). {_class_remedy(cfg, key, dataset)}"
        )
    if key in ("TrainDataset", "EvalDataset"):
        _demand_objects(dataset, key)
        _warn_of_orientations(cfg, key, dataset)
    return dataset


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number} classes"


def _listed(names: Sequence[object], most: int = 6) -> str:
    return ", ".join(map(str, names[:most])) + (", …" if len(names) > most else "")


def _class_remedy(cfg: Config, key: str, dataset: Any) -> str:
    """What to do about a data set with another number of classes than the model: seldom to change the model."""
    trained = cfg.get("TrainDataset") if key != "TrainDataset" else None
    names: list[str] = []
    if trained is not None:
        # What is wrong with the other data set is no matter here.
        with contextlib.suppress(UserError):
            names = list(trained.load().class_names)
    if len(names) != cfg.num_classes:
        return f"Set num_classes: {dataset.num_classes}"
    lacks = [name for name in names if name not in dataset.class_names]
    more = [name for name in dataset.class_names if name not in names]
    told = [f"lacks {_listed(lacks)} of TrainDataset ({_listed(names)})"] if lacks else []
    told += [f"has {_listed(more)}, which TrainDataset has not"] if more else []
    return f"It {' and '.join(told)}. Give its annotation file the same categories, also those that do not occur in it."


def _warn_of_orientations(cfg: Config, key: str, dataset: Any) -> None:
    """Say that pictures are turned by EXIF where nothing tells whether their annotations are."""
    if not dataset.annotated or world()[0] != 0:
        return
    mode = key.removesuffix("Dataset")
    for entry in (cfg.get(f"{mode}Reader") or {}).get("sample_transforms") or ():
        # Who has written it down has decided.
        if isinstance(entry, Mapping) and "exif" in (entry.get("ReadImage") or {}):
            return
    records = [record for record in dataset.records if len(record.labels)]
    found, looked = ambiguous_orientations({record.file: (record.height, record.width) for record in records})
    if found:
        logger.warning(
            "%s: %d of %s looked at have an EXIF orientation that leaves the size as it is (%s), so that nothing tells whether "
            "the annotations count pixels before or after it. They are read turned, as viewers show them; if masks then lie "
            "elsewhere, set `ReadImage: {exif: false}` in every reader (`exif: true` keeps it, and ends this warning)",
            key,
            len(found),
            counted(looked, "pictures"),
            _listed([Path(file).name for file in found]),
        )


def _demand_objects(dataset: Any, key: str) -> None:
    """UserError where there is nothing to learn, or nothing that a score could be made of."""
    if not dataset.annotated or any((~record.crowd).any() for record in dataset.records):
        return
    told = f" ({dataset.account})" if dataset.account else ""
    text = f"{key}: not one of its {counted(len(dataset.records), 'images')} has an object{told}"
    # Clean sheets alone are scored by metrics that reward an empty submission.
    if key == "EvalDataset" and not isinstance(dataset, CocoJsonDataSet):
        logger.warning("%s: what misses objects is not measured", text)
        return
    raise UserError(f"{text}: nothing to {'learn' if key == 'TrainDataset' else 'measure'}.")


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
