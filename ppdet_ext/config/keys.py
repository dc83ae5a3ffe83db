"""The table of keys: type, default and range of each, and what it decides. Whoever asks one of these asks here."""

from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Literal

from ppdet_ext.host.registry import METRICS

from .types import expected

POSTPROCESS, VIEWS, ENSEMBLE = "PostProcess", "TestTimeAugmentation", "Ensemble"
ENSEMBLE_MEAN, CLASSIFIER = "EnsembleMean", "Classifier"


class Decides(Flag):
    """What a key has an influence on.

    Attributes:
        TRAINING: what a step computes, and by what the best weights are chosen.
        CANDIDATES: what given weights find in a picture, before any step after the model.
        RESULT: what is made of the candidates.
    """

    NOTHING = 0
    TRAINING = auto()
    CANDIDATES = auto()
    RESULT = auto()
    EVERYTHING = TRAINING | CANDIDATES | RESULT


REQUIRED, UNSET, SECTION = object(), object(), object()
NOTHING, TRAINING, EVERYTHING = Decides.NOTHING, Decides.TRAINING, Decides.EVERYTHING
PREDICTION = Decides.CANDIDATES | Decides.RESULT


@dataclass(frozen=True)
class Entries:
    """A list of `- Name: {argument: value}`, the names those of a kind of the registry."""

    kind: str


@dataclass(frozen=True)
class Key:
    """A key of the configuration.

    Attributes:
        kind: type of its values, as in an annotation, or `Entries`; SECTION of one with keys or a check of its own.
        default: REQUIRED where every configuration says it. UNSET: absent unless it is said.
        decides: see `Decides`.
        least, below: range of a number.
        change: kind of change (of `--allow_change`) that another value is for a resumed run. Kinds other than "config" are
            compared by content, not as configured.
        about: what it does, for the page of keys.
    """

    kind: Any = SECTION
    default: Any = UNSET
    decides: Decides = NOTHING
    least: float | None = None
    below: float | None = None
    change: str = "config"
    about: str = ""

    def wanted(self, value: Any) -> str | None:
        """What should stand in place of `value`, in words; None if it is right."""
        wrong = None if self.kind is SECTION or isinstance(self.kind, Entries) else expected(value, self.kind)
        if wrong or not isinstance(value, (int, float)):
            return wrong
        if (self.least is None or value >= self.least) and (self.below is None or value < self.below):
            return None
        return f"{self.least} or more" + ("" if self.below is None else f", less than {self.below}")


_READER: dict[str, dict[str, Any]] = {
    "sample_transforms": {"kind": Entries("transform"), "about": "what is done to each picture, in this order"},
    "batch_transforms": {"kind": Entries("batch transform"), "about": "what makes a batch of pictures"},
    "batch_size": {"kind": int, "least": 1, "about": "images of a batch on one rank"},
    "shuffle": {"kind": bool, "about": "another order in each epoch; only in training unless it is said"},
    "drop_last": {"kind": bool, "about": "in training: leave out a last batch that is not full"},
}
READER_KEYS = tuple(_READER)
READERS = {"TrainReader": TRAINING, "EvalReader": EVERYTHING, "TestReader": PREDICTION}

# The top-level keys, and those below them that differ from what is around them. All others are of the model.
TABLE: dict[str, Key] = {
    "architecture": Key(str, REQUIRED, EVERYTHING, about="class of the model; a section of its name says its parts"),
    "num_classes": Key(int, REQUIRED, EVERYTHING, least=1, about="number of classes, without background"),
    # ppdet hands it to all modules that share it, whose own defaults differ.
    "norm_type": Key(str | None, UNSET, EVERYTHING, about="kind of normalization, such as bn, or sync_bn: one over all GPUs"),
    "use_gpu": Key(bool, False, EVERYTHING, about="true: GPUs; false: the CPU"),
    "seed": Key(int, 0, TRAINING, least=0, change="seed", about="of weights, order, augmentation and sampling"),
    "epoch": Key(int, 12, least=1, about="epochs of the whole run"),
    "gradient_accumulation_steps": Key(
        int, 1, TRAINING, least=1, change="batch_size", about="batches of one step, for larger steps than memory has room for"
    ),
    "base_batch_size": Key(
        int | None, None, TRAINING, least=1, about="images a step that base_lr is meant for, and scaled from; null: any"
    ),
    "use_ema": Key(bool, False, TRAINING, about="keep an average of the weights, evaluate and save it"),
    "ema_decay": Key(float, 0.9998, TRAINING, least=0, below=1, about="share of the average that a step keeps"),
    "skip_nonfinite": Key(int, 0, least=0, about="steps in a row that may be skipped for a loss that is not finite"),
    "find_unused_parameters": Key(bool, False, about="several GPUs: weights may be without a gradient in a step"),
    "weights": Key(str | None, None, about="what eval, infer, submit and tune take"),
    "pretrain_weights": Key(str | None, None, about="what a training starts from: path or URL; null: from scratch"),
    "metric": Key(str | list, "COCO", about="what evaluation measures; the first decides which weights are the best"),
    "evaluator": Key(
        Literal["auto", "hotcoco", "pycocotools"],
        "auto",
        about="computes COCO's numbers, the same ones; auto: hotcoco if it is there",
    ),
    "report": Key(bool, True, about="a page about the best weights after a training with --eval, as of tools/report.py"),
    "save_dir": Key(str, "output", about="folder of the runs' folders"),
    "log_iter": Key(int, 20, least=1, about="steps between log lines"),
    "tensorboard": Key(bool, False, about="write curves for TensorBoard, too, to the folder tensorboard of the run"),
    "vdl_pictures": Key(int, 4, least=0, about="images of EvalDataset that --use_vdl draws at each evaluation of --eval"),
    "snapshot_epoch": Key(int, 1, least=1, about="epochs between checkpoints, and between evaluations"),
    "snapshot_iter": Key(int | None, None, least=1, about="steps between checkpoints within an epoch; null: none"),
    "keep_checkpoints": Key(int, 3, least=1, about="newest checkpoints that are kept, beside the best"),
    "worker_num": Key(int, 2, least=0, about="processes that prepare batches; 0: none but the main one"),
    "stall_timeout": Key(int, 1800, least=1, about="seconds that a rank may be silent before all end"),
    "plugins": Key(list[str], about="Python files or modules with parts of your own"),
    "hooks": Key(Entries("hook"), decides=TRAINING, about="hooks of your own around the steps of a training"),
    "SampleData": Key(about="pictures to draw, if TrainDataset's folder is empty: images, seed, height, width, quality, kind"),
    "TrainDataset": Key(decides=TRAINING, change="dataset", about="data set to train on"),
    "EvalDataset": Key(decides=TRAINING, about="data set to evaluate and tune on"),
    "EvalDataset.dataset_dir": Key(str, about="its folder"),
    "TestDataset": Key(about="pictures that infer and submit take without --infer_img, --infer_dir; null: none"),
    **{name: Key(decides=decides, about=f"batches of {name[:-6]}Dataset") for name, decides in READERS.items()},
    **{f"{name}.{key}": Key(decides=READERS[name], **facts) for name in READERS for key, facts in _READER.items()},
    "TrainReader.batch_size": Key(decides=TRAINING, change="batch_size", **_READER["batch_size"]),
    "TrainReader.sampler": Key(
        decides=TRAINING, about="what an epoch is made of: balance, empty_ratio, pseudo_ratio, images; null: each image once"
    ),
    "LearningRate": Key(decides=TRAINING, about="base_lr and its schedulers"),
    "OptimizerBuilder": Key(
        decides=TRAINING, about="optimizer, regularizer, gradient clipping, groups of parameters, LookAhead"
    ),
    POSTPROCESS: Key(Entries("step"), decides=Decides.RESULT, about="steps after the model, in this order"),
    VIEWS: Key(decides=PREDICTION, about="views of a picture whose predictions are averaged"),
    f"{VIEWS}.resizes": Key(Entries("transform"), decides=PREDICTION, about="a size for each view"),
    f"{VIEWS}.flips": Key(
        list[Literal["none", "horizontal", "vertical", "both"]], decides=PREDICTION, about="mirrorings of each size"
    ),
    ENSEMBLE: Key(decides=PREDICTION, about="weights whose predictions are averaged"),
    ENSEMBLE_MEAN: Key(decides=PREDICTION, about="how probability maps are averaged"),
    f"{ENSEMBLE_MEAN}.power": Key(
        float, decides=PREDICTION, least=0.1, about="the mean is that of this power of the probabilities; 1, the plain mean"
    ),
    CLASSIFIER: Key(decides=PREDICTION, about="models of whole images, which say what classes are there: {config, weights}"),
}
DEFAULTS = {name: key.default for name, key in TABLE.items() if key.default not in (REQUIRED, UNSET)}


def key_of(path: str) -> Key:
    """The key at a dotted path, or the nearest one above it; what is not in the table is a part of the model, or a metric's."""
    while path and path not in TABLE:
        parent = path.rpartition(".")[0]
        if not parent:
            return Key() if path in METRICS else Key(decides=EVERYTHING)
        path = parent
    return TABLE[path]


def names_below(path: str) -> list[str]:
    """The keys that the table has right below a section."""
    return [name.removeprefix(f"{path}.") for name in TABLE if name.startswith(f"{path}.")]


def deciding(tree: dict[str, Any], what: Decides) -> dict[str, Any]:
    """The part of a tree that decides `what`, key by key of the top level."""
    return {key: value for key, value in tree.items() if key_of(key).decides & what}
