"""The configuration of a trial: the same model and steps on a handful of images, for a handful of steps."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppdet_ext.errors import UserError

from .folds import CHOICE, arguments_of, labelled_node
from .keys import CLASSIFIER, ENSEMBLE, POSTPROCESS
from .parse import Tagged

BATCH = 2
GATES = ("ClassifierGate", "SoftGate")
# What is read of a drawn sample, whatever the data set that it stands in for names.
PATHS = ("anno_path", "image_dir", "labels_path", "split", *CHOICE)


@dataclass(frozen=True)
class Chosen:
    """Files that list the images of each data set, one name a line, and the pictures to predict."""

    trained: Path
    held: Path
    pseudo: Path | None
    pictures: list[str]


def drawn_tree(tree: dict[str, Any], folder: Path, kind: str, images: int) -> dict[str, Any]:
    """A resolved configuration on pictures that are drawn into `folder`, in place of data that is not there.

    Args:
        tree: see `dump_config`; stays as it is.
        kind: of the pictures, see `SampleSpec`. images: how many.
    """
    own = deepcopy(tree)
    trained = labelled_node(own)
    options = {key: value for key, value in trained.items() if key not in (*PATHS, "dataset_dir", "class_names")}
    size = {key: trained[key] for key in ("height", "width") if trained.get(key)}
    # Drawn clothes have classes of their own.
    same = size | ({"class_names": trained["class_names"]} if kind == "steel" and "class_names" in trained else {})
    for key, part in (("TrainDataset", "train"), ("EvalDataset", "val")):
        choice = {"dataset_dir": str(folder), "split": f"{part}.txt", **same}
        own[key] = Tagged(trained.tag, {**(options if part == "train" else {}), **choice})
    # A mix has become one data set, without pseudo-labelled pictures.
    ((own.get("TrainReader") or {}).get("sampler") or {}).pop("pseudo_ratio", None)
    own["SampleData"] = {"kind": kind, "images": images, "seed": 0, **size}
    own["num_classes"] = own["num_classes"] if kind == "steel" else 10
    return own


def trial_tree(tree: dict[str, Any], folder: Path, chosen: Chosen) -> dict[str, Any]:
    """A resolved configuration of one epoch on the chosen images, in batches of two at most.

    Args:
        tree: see `dump_config`; stays as it is.
        folder: of the trial's runs.
        chosen: images.

    Raises:
        UserError: a data set that takes no list of images.
    """
    own = deepcopy(tree)
    pairs: list[tuple[Any, Path | None]] = [(labelled_node(own), chosen.trained), (own.get("EvalDataset"), chosen.held)]
    if own["TrainDataset"].tag == "MixedDataSet":
        own["TrainDataset"]["ratio"] = None
        pairs.append((own["TrainDataset"].get("pseudo"), chosen.pseudo))
    for node, listed in pairs:
        _restrict(node, str(listed))
    own["TestDataset"] = Tagged("ImageFolder", {"images": list(chosen.pictures)})
    own |= {"epoch": 1, "snapshot_epoch": 1, "snapshot_iter": None, "log_iter": 1, "save_dir": str(folder)}
    own["gradient_accumulation_steps"] = min(own["gradient_accumulation_steps"], BATCH)
    own["worker_num"] = min(own["worker_num"], 1)
    for key in ("TrainReader", "EvalReader", "TestReader"):
        if own.get(key):
            own[key]["batch_size"] = min(own[key].get("batch_size", 1), BATCH)
    _ease_sampler(own)
    _shorten_warm_up(own)
    _leave_out_others(own)
    return own


def _leave_out_others(tree: dict[str, Any]) -> None:
    """Models beside the one that is trained, and the steps that go by what they say."""
    gated = tree.pop(CLASSIFIER, None) is not None
    tree.pop(ENSEMBLE, None)
    if gated:
        steps = [(step, next(iter(step.items()))) for step in tree.get(POSTPROCESS) or []]
        tree[POSTPROCESS] = [step for step, (name, options) in steps if name not in GATES or (options or {}).get("file")]


def _restrict(node: Any, listed: str) -> None:
    if not isinstance(node, Tagged) or "split" not in arguments_of(node):
        kind = node.tag if isinstance(node, Tagged) else "not there"
        raise UserError(f"--debug_run takes a few images of each data set by its `split`; one of them is {kind}.")
    for key in CHOICE:
        node.pop(key, None)
    node["split"] = listed


def _ease_sampler(tree: dict[str, Any]) -> None:
    """An epoch of as many images as there are; of a handful none may be empty, and a rare class cannot be rarer still."""
    sampler = (tree.get("TrainReader") or {}).get("sampler")
    if sampler:
        for key in ("images", "empty_ratio"):
            sampler.pop(key, None)
        sampler["balance"] = max(sampler.get("balance", 0.0), 0.0)


def _shorten_warm_up(tree: dict[str, Any]) -> None:
    """To one step: there are hardly more."""
    for entry in (tree.get("LearningRate") or {}).get("schedulers") or []:
        if isinstance(entry, dict) and ("start_factor" in entry or getattr(entry, "tag", "") == "LinearWarmup"):
            entry.pop("epochs", None)
            entry["steps"] = 1
