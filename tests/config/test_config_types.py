"""Values of a wrong type, and folds that overlap, are said before anything is built."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ppdet_ext.commands import cli, flags
from ppdet_ext.config.load import load_config
from ppdet_ext.config.types import annotations_of, expected
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.errors import UserError

CONFIG = "configs/htc/steel.yml"


@pytest.mark.parametrize(("value", "kind", "wanted"), [
    (3, int, None), (True, int, "int"), (3.0, int, "int"), ("3", int, "int"), (None, int, "int"),
    (3, float, None), (0.5, float, None), (True, float, "float"), ("a", float, "float"),
    (True, bool, None), (1, bool, "true or false"), ("x", str, None), (5, str, "str"),
    (None, int | None, None), ("a", int | None, "int or null"),
    ([1, 2], list[int], None), ((1, 2), list[int], None), ([1, "a"], list[int], "a list of int"),
    (4, list[float], "a list of float"), ("abc", Sequence[str], "a list of str"), ("abc", str | Sequence[str], None),
    ([1, "a"], tuple[int, str], None), (1, tuple[int, ...], "a list of int"), (4, list, "a list"),
    ({"name": "x"}, SimpleNamespace, None), ("Name", object, None),
])  # fmt: skip
def test_expected(value: object, kind: object, wanted: str | None) -> None:
    assert expected(value, kind) == wanted


def test_the_default_fits_whatever_is_annotated() -> None:
    assert expected(None, int, default=None) is None


def test_annotations_that_cannot_be_resolved_are_left_out() -> None:
    def function(a: int, b: "Unknown") -> None: ...  # noqa: F821

    assert annotations_of(function).get("a") is int
    assert "b" not in annotations_of(function)


@pytest.mark.parametrize(("override", "message"), [
    ("TrainDataset.height=abc", "TrainDataset.height is 'abc'; expected int or null."),
    ("TrainDataset.allow_empty=1", "TrainDataset.allow_empty is 1; expected true or false."),
    ("TrainDataset.min_instance_area=true", "TrainDataset.min_instance_area is True; expected int."),
    ("TrainDataset.class_names=[1, 2, 3, 4]", "TrainDataset.class_names is [1, 2, 3, 4]; expected a list of str or null."),
    ("HTCRoIHead.fc_channels=many", "HTCRoIHead.fc_channels is 'many'; expected int."),
    ("TestReader.sample_transforms=[ReadImage: {exif: 3}]", "TestReader.sample_transforms.0.ReadImage.exif is 3"),
    ("LearningRate.base_lr=abc", "LearningRate.base_lr is 'abc'; expected float."),
    ("LearningRate.base_lr=null", "LearningRate.base_lr is None; expected float."),
])  # fmt: skip
def test_value_of_another_type_is_named(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(CONFIG, [override])
    assert message in str(caught.value)
    assert f"-o {override}" in str(caught.value)


def folds(train: str, evaluation: str) -> list[str]:
    return [f"TrainDataset=!SteelDataSet {{{train}}}", f"EvalDataset=!SteelDataSet {{{evaluation}}}"]


def test_training_on_the_evaluated_fold_is_refused() -> None:
    with pytest.raises(UserError, match=r"EvalDataset\.fold is 1, but TrainDataset\.fold is 0: training would see"):
        load_config(CONFIG, folds("fold: 0, part: train", "fold: 1, part: val"))


def test_only_training_refuses_other_folds() -> None:
    words = ["-c", CONFIG, "-o", *folds("fold: 0, part: train", "fold: 0, part: val"), "EvalDataset.split=mine.csv"]
    assert cli.config_of(flags.eval_parser().parse_args(words)).EvalDataset.split == "mine.csv"
    with pytest.raises(UserError, match=r"EvalDataset\.split is mine\.csv, but TrainDataset.split is None"):
        cli.config_of(flags.train_parser().parse_args(words))


@pytest.mark.parametrize(("train", "evaluation"), [
    ("fold: 1, part: train", "fold: 1, part: val"),
    ("fold: 0, part: train, dataset_dir: elsewhere", "fold: 1, part: val"),
    ("split: train.txt", "fold: 1, part: val"),
    ("fold: 0, part: val", "fold: 1, part: val"),
])  # fmt: skip
def test_folds_that_do_not_overlap_are_accepted(train: str, evaluation: str) -> None:
    assert load_config(CONFIG, folds(train, evaluation)).EvalDataset.fold == 1


def test_values_a_data_set_cannot_work_with_name_its_section() -> None:
    class Broken:
        def load(self) -> None:
            np.ones(2) + np.array(["a", "b"])  # numpy's own kind of TypeError

    class Config(SimpleNamespace):
        def get(self, key: str) -> object:
            return vars(self).get(key)

    with pytest.raises(UserError, match=r"TrainDataset does not work with its configured values: \w*TypeError"):
        load_dataset(Config(TrainDataset=Broken(), num_classes=4), "TrainDataset")


def test_missing_data_is_still_its_own_message(tmp_path: Path) -> None:
    cfg = load_config(CONFIG, [f"TrainDataset.dataset_dir={tmp_path}/none"])
    with pytest.raises(UserError, match=r"Data set folder .*/none does not exist; dataset_dir names it"):
        load_dataset(cfg, "TrainDataset")
