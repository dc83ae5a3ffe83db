"""The configuration of one fold: what is trained on, and what is held out of it."""

import inspect
from copy import deepcopy
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import tags

from .parse import Tagged

# Arguments of a data set that say which images there are to be dealt out, and how.
SELECTION = ("dataset_dir", "anno_path", "image_dir", "split", "seed")
CHOICE = ("fold", "num_folds", "part")


def labelled_node(tree: dict[str, Any], key: str = "TrainDataset") -> Tagged:
    """The description of the data set under `key`; of a mix, that of the images labelled by people. UserError for none."""
    node = tree.get(key)
    if not isinstance(node, Tagged):
        raise UserError(f"The configuration has no {key}; give one, for example '{key}: !SteelDataSet {{…}}'.")
    inner = node.get("labelled") if node.tag == "MixedDataSet" else node
    return inner if isinstance(inner, Tagged) else node


def arguments_of(node: Tagged) -> set[str]:
    """Names of the arguments that the data set of a description takes."""
    return set(inspect.signature(tags()[node.tag]).parameters)


def pool_tree(tree: dict[str, Any]) -> dict[str, Any]:
    """A resolved configuration whose EvalDataset has all images that are to be dealt out to folds: those of TrainDataset.

    A `fold` of the configuration's own is left aside, so that all folds are there. What EvalDataset says beside the choice of
    images (`allow_empty` and the like) holds. Of a `MixedDataSet` the labelled images are dealt out.

    Args:
        tree: see `dump_config`; stays as it is.

    Raises:
        UserError: the data set cannot be dealt out.
    """
    own = deepcopy(tree)
    trained = labelled_node(own)
    if not {*CHOICE, "split"} <= arguments_of(trained):
        raise UserError(f"TrainDataset is a {trained.tag}, whose images cannot be dealt out to folds: it takes no `fold`.")
    held = own.get("EvalDataset")
    if not (isinstance(held, Tagged) and held.tag == trained.tag):
        # Another kind's options would mean nothing here.
        held = Tagged(trained.tag, {key: value for key, value in trained.items() if key not in ("allow_empty", "empty_ratio")})
    for key in (*SELECTION, *CHOICE):
        held.pop(key, None)
    held.update({key: deepcopy(trained[key]) for key in SELECTION if key in trained})
    if trained.get("fold") is None:
        held.update({key: trained[key] for key in ("part",) if key in trained})
    own["EvalDataset"] = held
    return own


def fold_tree(tree: dict[str, Any], fold: int, folds: int, split: str | None) -> dict[str, Any]:
    """A resolved configuration that trains on all folds but one, and evaluates on that one.

    The pseudo-labelled images of a `MixedDataSet` are trained on in every fold. In `pretrain_weights` {fold} is the fold's
    number: a model goes on from the one that has not seen the same images.

    Args:
        tree: see `pool_tree`, which is where `EvalDataset` comes from.
        fold: the one that is held out, from 0. folds: how many there are.
        split: file with a column `fold`; None where the data set has its own.
    """
    own = pool_tree(tree)
    trained, held = labelled_node(own), own["EvalDataset"]
    for node, part in ((trained, "train"), (held, "val")):
        node.update(fold=fold, num_folds=folds, part=part, **({} if split is None else {"split": split}))
    if isinstance(own.get("pretrain_weights"), str):
        own["pretrain_weights"] = own["pretrain_weights"].replace("{fold}", str(fold))
    return own
