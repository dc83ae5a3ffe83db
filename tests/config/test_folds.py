"""The configuration of a fold: which images, and what is kept of the configuration."""

import copy

import pytest

from ppdet_ext.config.folds import fold_tree, pool_tree
from ppdet_ext.config.parse import Tagged
from ppdet_ext.errors import UserError


def steel(**arguments: object) -> Tagged:
    return Tagged("SteelDataSet", {"dataset_dir": "d", **arguments})


def test_train_and_evaluation_of_a_fold() -> None:
    tree = {
        "TrainDataset": steel(fold=0, part="train", allow_empty=False, seed=3),
        "EvalDataset": steel(dataset_dir="e", fold=0, part="val", min_instance_area=16),
        "pretrain_weights": "out/fold_{fold}/best_model",
    }
    before = copy.deepcopy(tree)
    own = fold_tree(tree, 2, 5, "folds.csv")
    choice = {"dataset_dir": "d", "seed": 3, "fold": 2, "num_folds": 5, "split": "folds.csv"}
    assert own["TrainDataset"] == {**choice, "part": "train", "allow_empty": False}
    assert own["EvalDataset"] == {**choice, "part": "val", "min_instance_area": 16}
    assert own["pretrain_weights"] == "out/fold_2/best_model"
    assert tree == before


def test_all_images_of_the_training_are_dealt_out() -> None:
    assert pool_tree({"TrainDataset": steel(fold=0, part="train")})["EvalDataset"] == {"dataset_dir": "d"}
    listed = pool_tree({"TrainDataset": steel(split="train.txt"), "EvalDataset": steel(split="val.txt")})
    assert listed["EvalDataset"] == {"dataset_dir": "d", "split": "train.txt"}
    held_out = pool_tree({"TrainDataset": steel(split="split.csv", part="train")})
    assert held_out["EvalDataset"] == {"dataset_dir": "d", "split": "split.csv", "part": "train"}


def test_of_a_mix_the_labelled_images_are_dealt_out() -> None:
    pseudo = steel(image_dir="test_images", anno_path="pseudo.csv", split="pseudo.csv")
    own = fold_tree({"TrainDataset": Tagged("MixedDataSet", {"labelled": steel(), "pseudo": pseudo})}, 1, 3, None)
    assert own["TrainDataset"]["labelled"] == {"dataset_dir": "d", "fold": 1, "num_folds": 3, "part": "train"}
    assert own["TrainDataset"]["pseudo"] == pseudo
    assert own["EvalDataset"] == {"dataset_dir": "d", "fold": 1, "num_folds": 3, "part": "val"}


@pytest.mark.parametrize("node", [None, Tagged("ImageFolder", {"images": "."})])
def test_what_cannot_be_dealt_out(node: Tagged | None) -> None:
    with pytest.raises(UserError, match="TrainDataset"):
        fold_tree({"TrainDataset": node}, 0, 2, None)
