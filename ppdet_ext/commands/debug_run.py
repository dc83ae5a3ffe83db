"""`--debug_run` of tools/train.py and tools/kfold.py: all stages on a handful of images, in a folder that is removed again."""

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ppdet_ext.config.debug import BATCH, Chosen, drawn_tree, trial_tree
from ppdet_ext.config.files import dump_tree
from ppdet_ext.config.folds import labelled_node
from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import MixedDataSet
from ppdet_ext.data.loading.build import READ_BY, load_dataset
from ppdet_ext.data.splits.selection import spread
from ppdet_ext.distributed import world
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.host.build import architecture_of
from ppdet_ext.host.start import thawing
from ppdet_ext.inference.presence import is_classifier
from ppdet_ext.structures import Record
from ppdet_ext.training.train import train
from ppdet_ext.tuning.options import Predicting, Searching
from ppdet_ext.weights.find import find_weights

from .eval import evaluate
from .submit import submit
from .tune import tune
from .tune_classifier import tune_classifier

EVALUATED, DRAWN = 4, 16
PREDICTING, SEARCHING = Predicting(score_threshold=0.0), Searching(folds=2, min_instances=1)
logger = logging.getLogger("ppdet_ext")


def debug_train(cfg: Config, train_options: dict[str, Any]) -> None:
    """Train for a few steps, evaluate, tune and submit, as the tools would; nothing of it stays.

    Args:
        cfg: from `load_config`.
        train_options: of `train`; it evaluates in any case, for schedules may go by a metric.

    Raises:
        UserError: for what the user can mend, in any stage.
    """
    with tempfile.TemporaryDirectory(prefix="ppdet_ext_debug_") as folder:
        stages = Stages()
        file = trial_config(cfg, Path(folder))
        run = Path(stages("train", lambda: train(load_config(file), **{**train_options, "evaluate": True})))
        after_training(file, [f"weights={run / 'model_final'}"], Path(folder), stages)
        stages.sum_up(cfg.filename)


def after_training(file: Path, overrides: Sequence[str], folder: Path, stages: "Stages") -> None:
    """Evaluate, tune and submit with a configuration that has its weights; a classifier submits nothing, nor does who has no
    masks, and nothing is to be tuned then either."""
    cfg = load_config(file, overrides, training=False)
    stages("eval", lambda: evaluate(cfg, output_eval=folder))
    tuned = folder / "tuned.yml"
    if is_classifier(cfg):
        stages("tune", lambda: tune_classifier(cfg, str(file), output=tuned, searching=SEARCHING))
        return
    if not architecture_of(cfg).has_masks(cfg):
        logger.info("The model has no masks, so there is nothing to tune and to submit")
        return
    stages("tune", lambda: tune(cfg, output=tuned, predicting=PREDICTING, searching=SEARCHING))
    last = load_config(file, overrides, tuned, training=False)
    stages("submit", lambda: submit(last, results=None, images=None, output=folder / "submission.csv"))


class Stages:
    """Runs the stages of a trial and remembers how long each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        logger.info("--debug_run: %s", name)
        began = time.perf_counter()
        result = work()
        self.seconds[name] = time.perf_counter() - began
        return result

    def sum_up(self, name: str) -> None:
        times = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in self.seconds.items())
        logger.info("%s went through all stages: %s. Nothing of it is kept.", name, times)


def trial_config(cfg: Config, folder: Path, folds: int = 1) -> Path:
    """Write the configuration of a trial (see `trial_tree`) into `folder`, with images of as many classes as fit.

    folds: images for so many of them.
    """
    if world()[1] > 1:
        raise UserError("--debug_run is one process; it was started on several ranks.")
    tree = _with_data(cfg, folder)
    source = folder / f"{cfg.filename}.yml"
    source.write_text(dump_tree(tree), encoding="utf-8")
    whole = load_config(source)
    steps = min(cfg.gradient_accumulation_steps, BATCH)
    trained = load_dataset(whole, "TrainDataset")
    labelled = trained.labelled.records if isinstance(trained, MixedDataSet) else trained.records
    held = load_dataset(whole, "EvalDataset").records
    chosen = Chosen(
        _listed(folder / "trained.txt", labelled, folds * BATCH * BATCH * steps),
        _listed(folder / "held.txt", held, EVALUATED),
        _listed(folder / "pseudo.txt", trained.pseudo.records, BATCH) if isinstance(trained, MixedDataSet) else None,
        [record.file for record in spread(held, BATCH)],
    )
    source.write_text(dump_tree(trial_tree(tree, folder, chosen)), encoding="utf-8")
    return source


def _listed(path: Path, records: Sequence[Record], count: int) -> Path:
    names = "".join(f"{record.name}\n" for record in spread(records, count))
    path.write_bytes(names.encode(errors="surrogateescape"))
    return path


def _with_data(cfg: Config, folder: Path) -> dict[str, Any]:
    """The resolved configuration with data and weights that are there: drawn pictures, and none, in place of what is not."""
    tree = dict(cfg.resolved)
    node = labelled_node(tree)
    place = getattr(getattr(cfg.TrainDataset, "labelled", cfg.TrainDataset), "dataset_dir", None)
    kind = next((kind for kind, read_by in READ_BY.items() if node.tag == read_by.__name__), None)
    if kind is not None and place is not None and not Path(place).exists() and not tree.get("SampleData"):
        logger.info("%s is not there; trying the configuration on %d drawn pictures", place, DRAWN)
        tree = drawn_tree(tree, folder / "pictures", kind, DRAWN)
    if cfg.pretrain_weights and not _is_there(cfg.pretrain_weights):
        tree["pretrain_weights"] = None
        for path, value in thawing(cfg.replaced(pretrain_weights=None)).items():
            section, _, key = path.rpartition(".")
            tree[section] = {**tree.get(section, {}), key: value}
    return tree


def _is_there(weights: str) -> bool:
    try:
        find_weights(weights, theirs=True)
    except UserError as error:
        logger.warning("%s Trying from scratch.", error)
        return False
    return True
