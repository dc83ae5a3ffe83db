"""The table of keys: what each decides is what resuming, submissions and stored candidates compare."""

import pytest

from ppdet_ext.checkpoint.compatibility import CHANGES
from ppdet_ext.config.keys import DEFAULTS, TABLE, Decides, deciding, key_of
from ppdet_ext.config.load import load_config

TRAINING, CANDIDATES, RESULT = Decides.TRAINING, Decides.CANDIDATES, Decides.RESULT

# Compared when a training is resumed, before there was a table: all but these.
FREE_IN_TRAINING = (
    *("epoch", "log_iter", "worker_num", "save_dir", "weights", "pretrain_weights", "find_unused_parameters"),
    *("snapshot_epoch", "snapshot_iter", "keep_checkpoints", "skip_nonfinite", "stall_timeout"),
    *("SampleData", "TestDataset", "TestReader", "EvalDataset.dataset_dir"),
    *("metric", "SeverstalDice", "CocoMaskAP", "PostProcess", "TestTimeAugmentation", "Ensemble"),
    *("EnsembleMean", "Classifier"),
)
BY_CONTENT = ("seed", "TrainDataset", "TrainReader.batch_size", "gradient_accumulation_steps")


def test_what_a_resumed_training_compares_is_what_it_always_compared() -> None:
    for name in FREE_IN_TRAINING:
        assert TRAINING not in key_of(name).decides, name
        assert TRAINING not in key_of(f"{name}.below.0").decides, name
    for name in (*BY_CONTENT, "TrainDataset.class", "TrainDataset.fold"):
        assert key_of(name).change != "config", name
    resolved = load_config("configs/htc/steel.yml").resolved
    others = {*resolved, *TABLE, "--amp", "EvalDataset.fold", "TrainReader.shuffle", "norm_type"}
    free = {"plugins", "vdl_pictures", "evaluator", "tensorboard", "report", *FREE_IN_TRAINING, *BY_CONTENT}
    for name in (name for name in others if name not in free and name.partition(".")[0] not in free):
        assert TRAINING in key_of(name).decides, name
        assert key_of(name).change == "config", name


@pytest.mark.parametrize(
    "name", ["HTCRoIHead.nms_iou", "FPN", "architecture", "num_classes", "EvalReader.batch_size", "Ensemble"]
)
def test_what_decides_predictions(name: str) -> None:
    assert CANDIDATES in key_of(name).decides


@pytest.mark.parametrize("name", [
    "epoch", "snapshot_epoch", "LearningRate.base_lr", "OptimizerBuilder", "TrainReader", "TrainDataset", "metric", "seed",
    "SeverstalDice.classes", "use_ema", "hooks", "stall_timeout", "pretrain_weights",
])  # fmt: skip
def test_what_only_a_training_asks_for_decides_no_prediction(name: str) -> None:
    """So that `-o epoch=…` sets neither a submission's progress nor tune's candidates aside."""
    assert not key_of(name).decides & (CANDIDATES | RESULT)


def test_steps_decide_the_result_but_no_candidates() -> None:
    assert key_of("PostProcess").decides == RESULT
    tree = {"PostProcess": [], "epoch": 1, "FPN": {}, "SeverstalDice": {}}
    assert list(deciding(tree, CANDIDATES)) == ["FPN"]
    assert list(deciding(tree, CANDIDATES | RESULT)) == ["PostProcess", "FPN"]


def test_the_table_is_consistent() -> None:
    for name, key in TABLE.items():
        assert key.change in CHANGES, name
        if name in DEFAULTS:
            assert key.wanted(DEFAULTS[name]) is None, name


@pytest.mark.parametrize(("name", "value", "wanted"), [
    ("epoch", 0, "1 or more"), ("epoch", 1, None), ("epoch", True, "int"), ("snapshot_iter", None, None),
    ("ema_decay", 1, "0 or more, less than 1"), ("ema_decay", 0, None), ("use_gpu", 1, "true or false"),
    ("TestReader.batch_size", 0, "1 or more"), ("weights", 3, "str or null"), ("plugins", "a.py", "a list of str"),
])  # fmt: skip
def test_types_and_ranges(name: str, value: object, wanted: str | None) -> None:
    assert TABLE[name].wanted(value) == wanted
