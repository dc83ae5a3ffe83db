"""The table of keys: type, default and range of each, and what it decides. Whoever asks one of these asks here."""

from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Literal

from ppdet_ext.host.registry import METRICS

from .types import expected

POSTPROCESS, VIEWS, ENSEMBLE = "PostProcess", "TestTimeAugmentation", "Ensemble"


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
    """

    kind: Any = SECTION
    default: Any = UNSET
    decides: Decides = NOTHING
    least: float | None = None
    below: float | None = None
    change: str = "config"

    def wanted(self, value: Any) -> str | None:
        """What should stand in place of `value`, in words; None if it is right."""
        wrong = None if self.kind is SECTION or isinstance(self.kind, Entries) else expected(value, self.kind)
        if wrong or not isinstance(value, (int, float)):
            return wrong
        if (self.least is None or value >= self.least) and (self.below is None or value < self.below):
            return None
        return f"{self.least} or more" + ("" if self.below is None else f", less than {self.below}")


_READER: dict[str, dict[str, Any]] = {
    "sample_transforms": {"kind": Entries("transform")},
    "batch_transforms": {"kind": Entries("batch transform")},
    "batch_size": {"kind": int, "least": 1},
    "shuffle": {"kind": bool},
    "drop_last": {"kind": bool},
}
READER_KEYS = tuple(_READER)
READERS = {"TrainReader": TRAINING, "EvalReader": EVERYTHING, "TestReader": PREDICTION}

# The top-level keys, and those below them that differ from what is around them. All others are of the model.
TABLE: dict[str, Key] = {
    "architecture": Key(str, REQUIRED, EVERYTHING),
    "num_classes": Key(int, REQUIRED, EVERYTHING, least=1),
    # ppdet hands it to all modules that share it, whose own defaults differ.
    "norm_type": Key(str | None, UNSET, EVERYTHING),
    "use_gpu": Key(bool, False, EVERYTHING),
    "seed": Key(int, 0, TRAINING, least=0, change="seed"),
    "epoch": Key(int, 12, least=1),
    "gradient_accumulation_steps": Key(int, 1, TRAINING, least=1, change="batch_size"),
    "base_batch_size": Key(int | None, None, TRAINING, least=1),
    "use_ema": Key(bool, False, TRAINING),
    "ema_decay": Key(float, 0.9998, TRAINING, least=0, below=1),
    "skip_nonfinite": Key(int, 0, least=0),
    "find_unused_parameters": Key(bool, False),
    "weights": Key(str | None, None),
    "pretrain_weights": Key(str | None, None),
    "metric": Key(str | list, "COCO"),
    "save_dir": Key(str, "output"),
    "log_iter": Key(int, 20, least=1),
    "snapshot_epoch": Key(int, 1, least=1),
    "snapshot_iter": Key(int | None, None, least=1),
    "keep_checkpoints": Key(int, 3, least=1),
    "worker_num": Key(int, 2, least=0),
    "stall_timeout": Key(int, 1800, least=1),
    "plugins": Key(list[str]),
    "hooks": Key(Entries("hook"), decides=TRAINING),
    "SampleData": Key(),
    "TrainDataset": Key(decides=TRAINING, change="dataset"),
    "EvalDataset": Key(decides=TRAINING),
    "EvalDataset.dataset_dir": Key(str),
    "TestDataset": Key(),
    **{name: Key(decides=decides) for name, decides in READERS.items()},
    **{f"{name}.{key}": Key(decides=READERS[name], **facts) for name in READERS for key, facts in _READER.items()},
    "TrainReader.batch_size": Key(int, UNSET, TRAINING, least=1, change="batch_size"),
    "LearningRate": Key(decides=TRAINING),
    "OptimizerBuilder": Key(decides=TRAINING),
    POSTPROCESS: Key(Entries("step"), decides=Decides.RESULT),
    VIEWS: Key(decides=PREDICTION),
    f"{VIEWS}.resizes": Key(Entries("transform"), decides=PREDICTION),
    f"{VIEWS}.flips": Key(list[Literal["none", "horizontal", "vertical", "both"]], decides=PREDICTION),
    ENSEMBLE: Key(decides=PREDICTION),
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
