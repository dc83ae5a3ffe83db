"""Merging, overriding and checking configurations."""

import logging
import re
from pathlib import Path

import pytest
from ppdet.core.workspace import create, get_registered_modules

from ppdet_ext.config.files import ROOT, Tagged, read_tree
from ppdet_ext.config.load import dump_config, load_config
from ppdet_ext.errors import UserError
from ppdet_ext.host import workspace

BASE = """
architecture: FasterRCNN
num_classes: 4
epoch: 2
TrainDataset: !SteelDataSet {dataset_dir: nowhere, fold: 1, part: train}
TrainReader:
  sample_transforms:
    - ReadImage: {}
    - ResizeShortEdge: {short_edges: [256], long_limit: 512}
  batch_size: 2
LearningRate:
  base_lr: 1e-2
  schedulers:
    - !PiecewiseDecay {gamma: 0.1, milestones: [8, 11]}
    - !LinearWarmup {start_factor: 0.1, steps: 5}
FPN: {out_channel: 256}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.yml"
    path.write_text(BASE)
    return path


def leaf(base: Path, text: str) -> Path:
    path = base.with_name("leaf.yml")
    path.write_text(f"_BASE_: [base.yml]\n{text}")
    return path


def problems_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return str(caught.value).splitlines()


def test_values_defaults_and_types(base: Path) -> None:
    cfg = load_config(base)
    assert (cfg.architecture, cfg.num_classes, cfg.filename) == ("FasterRCNN", 4, "base")
    assert (cfg.log_iter, cfg.snapshot_epoch, cfg.use_gpu, cfg.save_dir, cfg.seed) == (20, 1, False, "output", 0)
    assert "norm_type" not in cfg
    assert load_config(base, ["norm_type=gn"]).norm_type == "gn"
    cfg = load_config(base, ["SampleData=null"])
    assert cfg.SampleData is None
    assert cfg.LearningRate["base_lr"] == 0.01
    assert cfg.TrainReader["batch_size"] == 2
    assert type(cfg.TrainDataset).__name__ == "SteelDataSet"
    assert (cfg.TrainDataset.fold, cfg.TrainDataset.part) == (1, "train")


def test_ppdet_builds_from_it(base: Path) -> None:
    cfg = load_config(base, ["LearningRate.base_lr=0.5", "OptimizerBuilder.optimizer={type: Momentum, momentum: 0.5}"])
    with workspace(cfg):
        schedule = create("LearningRate")(10)
        assert schedule.values[-1] == pytest.approx(0.005)
        assert schedule.boundaries[-2:] == [80, 110]
        assert create("OptimizerBuilder").optimizer["momentum"] == 0.5
    assert create("LearningRate").base_lr == 0.01


def test_leaf_changes_one_argument_of_a_bases_data_set(base: Path) -> None:
    cfg = load_config(leaf(base, "TrainDataset: {fold: 3}\nTrainReader: {batch_size: 8}"))
    assert (cfg.TrainDataset.fold, cfg.TrainDataset.part) == (3, "train")
    assert cfg.TrainReader["batch_size"] == 8
    assert len(cfg.TrainReader["sample_transforms"]) == 2


def test_leaf_with_a_class_replaces_the_bases(base: Path) -> None:
    cfg = load_config(leaf(base, "TrainDataset: !SteelDataSet {dataset_dir: other}"))
    assert (cfg.TrainDataset.fold, cfg.TrainDataset.part) == (None, "all")


@pytest.mark.parametrize(("text", "path", "value"), [
    ("epoch=7", ("epoch",), 7),
    ("LearningRate.base_lr=1e-4", ("LearningRate", "base_lr"), 1e-4),
    ("LearningRate.schedulers.0.milestones=[1, 2]", ("LearningRate", "schedulers", 0, "milestones"), [1, 2]),
    ("TrainReader.sample_transforms.1.ResizeShortEdge.long_limit=99",
     ("TrainReader", "sample_transforms", 1, "ResizeShortEdge", "long_limit"), 99),
    ("TrainDataset.dataset_dir=some/where", ("TrainDataset", "dataset_dir"), "some/where"),
    ("pretrain_weights=null", ("pretrain_weights",), None),
    ("FPN.use_c5=false", ("FPN", "use_c5"), False),
    ("weights=a=b", ("weights",), "a=b"),
    ("EvalDataset=!SteelDataSet {fold: 0}", ("EvalDataset", "fold"), 0),
])  # fmt: skip
def test_overrides_reach_everywhere_and_are_typed_by_yaml(base: Path, text: str, path: tuple, value: object) -> None:
    node = load_config(base, [text]).resolved
    for key in path:
        node = node[key]
    assert node == value
    assert type(node) is type(value)


@pytest.mark.parametrize(("text", "message"), [
    ("epoch", "expected key=value"),
    ("=3", "expected key=value"),
    ("a..b=3", "expected key=value"),
    ("LearningRate.schedulers.9.steps=1", "is a list of 2; give an index 0..1, not '9'"),
    ("LearningRate.schedulers.first=1", "is a list of 2"),
    ("epoch.deep.er=1", "epoch is the value 2"),
    ("epoch.deep=1", "epoch is the value 2"),
    ("epoch=[1", "not a valid configuration"),
    ("TrainDataset=!Callable {full_type: os.system}", "unknown class !Callable"),
])  # fmt: skip
def test_bad_overrides_are_named(base: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(base, [text])
    assert f"-o {text}" in str(caught.value)
    assert message in str(caught.value)


def test_overrides_do_not_leak_into_the_next_configuration(base: Path) -> None:
    load_config(base, ["FPN.has_extra_convs=true", "EvalReader.batch_size=3", "weights=x"])
    cfg = load_config(base)
    assert "has_extra_convs" not in dict(cfg.FPN)
    assert dict(cfg.EvalReader) == {}
    assert cfg.weights is None
    assert "FPN" in get_registered_modules()


@pytest.mark.parametrize(("override", "message"), [
    ("epochs=3", "unknown key 'epochs'. Did you mean 'epoch'?"),
    ("lr=0.1", "unknown key 'lr'. Did you mean 'LearningRate.base_lr'?"),
    ("batch_size=2", "'TrainReader.batch_size'"),
    ("dataset_dir=x", "'TrainDataset.dataset_dir'"),
    ("LearningRate.schedulers.0.milestones=8,11", "milestones is '8,11'; expected a list of numbers, such as [8, 11]."),
    ("LearningRate.schedulers.0.milestones=[8, x]", "expected a list of numbers, such as [8, 11]."),
    ("LearningRate.schedulers.1.steps=soon", "LearningRate.schedulers.1.steps is 'soon'; expected a number."),
    ("TranDataset={}", "unknown key 'TranDataset'. Did you mean 'TrainDataset'?"),
    ("FPN.out_chanel=3", "unknown key 'FPN.out_chanel' of FPN. Did you mean 'out_channel'?"),
    ("TrainDataset.datset_dir=x", "unknown key 'TrainDataset.datset_dir' of SteelDataSet. Did you mean 'dataset_dir'?"),
    ("TrainReader.batchsize=3", "unknown key 'TrainReader.batchsize' of TrainReader. Did you mean 'batch_size'?"),
    ("TrainReader.sample_transforms.1.ResizeShortEdge.short_edge=3", "Did you mean 'short_edges'?"),
    ("TrainReader.sample_transforms=[RedImage: {}]", "transform 'RedImage' is not registered. Did you mean 'ReadImage'?"),
    ("TrainReader.sample_transforms=[ReadImage]", "expected one '- Name: {…}'"),
    ("TrainReader.sample_transforms=3", "expected a list"),
    ("TrainReader.sample_transforms=[ReadImage: 3]", "expected ReadImage: {…}"),
    ("TrainReader.batch_size=0", "TrainReader.batch_size is 0; expected 1 or more."),
    ("TrainReader.shuffle=3", "expected true or false"),
    ("TrainReader=5", "expected keys"),
    ("LearningRate.base_rl=3", "Did you mean 'base_lr'?"),
    ("LearningRate.schedulers.1.step=3", "unknown key 'LearningRate.schedulers.1.step' of LinearWarmup."),
    ("LearningRate.schedulers=[{name: CosineDecay, max_epoch: 3}]", "Did you mean 'max_epochs'?"),
    ("OptimizerBuilder.optimizer={type: Momentum, momemtum: 1}", "Did you mean 'momentum'?"),
    ("OptimizerBuilder.groups=[{params: [encoder], learning_rate: 0.1}]", "groups.0.learning_rate is unknown."),
    ("OptimizerBuilder.lookahead={k: 5, alpa: 0.5}", "lookahead.alpa is unknown. Did you mean 'alpha'?"),
    ("OptimizerBuilder.look_ahead={k: 5}", "Did you mean 'lookahead'?"),
    ("LearningRate.schedulers=[{name: ReduceOnPlateau, patiense: 2}]", "Did you mean 'patience'?"),
    ("SemanticSegmentor.losses=[{BCE: {}}, {Dise: {}}]", "Did you mean 'Dice'?"),
    ("SemanticSegmentor.losses=[{Dice: {smoth: 1.0}}]", "Did you mean 'smooth'?"),
    ("OptimizerBuilder.optimizer={type: Momentun}", "Did you mean 'Momentum'?"),
    ("architecture=FasterRCN", "architecture 'FasterRCN' is not registered. Did you mean 'FasterRCNN'?"),
    ("FasterRCNN.bbox_post_process=BoxPostProcess", "not registered. Did you mean 'BBoxPostProcess'?"),
    ("FasterRCNN.backbone={name: ResNet, dept: 3}", "Did you mean 'depth'?"),
    ("num_classes=five", "num_classes is 'five'; expected int"),
    ("num_classes=7", "num_classes is 7, but TrainDataset has 4 classes"),
    ("epoch=0", "epoch is 0; expected 1 or more"),
    ("epoch=true", "epoch is True; expected int"),
    ("worker_num=-1", "expected 0 or more"),
    ("weights=3", "weights is 3; expected str or null"),
    ("ema_decay=1.5", "ema_decay is 1.5; expected 0 or more, less than 1"),
    ("metric=VOC", "there is no metric"),
    ("TrainDataset=3", "needs a data set class"),
    ("SampleData={image: 9}", "Did you mean 'images'?"),
    ("SampleData={images: 3}", "SampleData: images 3: give at least 4"),
    ("SampleData={images: many}", "SampleData.images is 'many'; expected int"),
    ("SampleData=yes please", "expected keys images"),
    ("FPN=3", "expected a section of FPN's keys"),
])  # fmt: skip
def test_wrong_keys_and_values_are_named(base: Path, override: str, message: str) -> None:
    lines = problems_of(base, override)
    assert len(lines) == 1
    assert message in lines[0]
    assert lines[0].startswith(f"-o {override}: ")


def test_value_a_data_set_refuses_is_a_problem_with_its_place(base: Path) -> None:
    assert problems_of(base, "TrainDataset.part=middle")[0].startswith(
        f"{base}:5: TrainDataset (!SteelDataSet): part: 'middle' is not one of"
    )


def test_place_is_that_of_the_last_file_that_set_the_value(base: Path) -> None:
    path = leaf(base, "TrainReader:\n  sample_transforms:\n  - RedImage: {}\n")
    assert problems_of(path)[0].startswith(f"{path}:4: transform 'RedImage'")


def test_all_problems_come_at_once_with_file_and_line(base: Path) -> None:
    path = leaf(base, "epochs: 3\nFPN:\n  out_chanel: 1\nnum_classes: 7\nTrainReader: {batch_size: 0}\n")
    lines = problems_of(path, "log_itr=3")
    assert [line.split(": ")[0] for line in lines] == [f"{path}:6", f"{path}:4", f"{path}:2", "-o log_itr=3"]


def test_sections_that_nothing_reads_are_said(base: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    text = "FasterRCNN: {backbone: {name: ResNet}, neck: FPN, rpn_head: RPNHead, bbox_head: BBoxHead}\nSwinTransformer: {}"
    load_config(leaf(base, text))
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 1
    assert "section SwinTransformer is not used by FasterRCNN" in warned[0]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", ["SemanticSegmentor.decoder=FPNDecoder"], []),
        ("SemanticSegmentor: {decoder: FPNDecoder}", [], []),
        ("SemanticSegmentor: {encoder: SENetEncoder}", ["SemanticSegmentor.decoder=FPNDecoder"], []),
        ("FPNDecoder: {dropout: 0}", [], ["FPNDecoder"]),
        ("SemanticSegmentor: {decoder: FPNDecoder}\nUNetDecoder: {channels: [64, 32, 16]}", [], ["UNetDecoder"]),
        ("", ["SemanticSegmentor.decoder=FPNDecoder", "UNetDecoder.channels=[64,32,16]"], ["UNetDecoder"]),
    ],
)
def test_parts_that_were_exchanged_are_no_mistake(tmp_path: Path, caplog, monkeypatch, text, options, said) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    path = tmp_path / "own.yml"
    path.write_text(f"_BASE_: {ROOT}/configs/unet/unet_resnet18_steel_sample.yml\n{text}\n")
    load_config(path, options)
    assert re.findall(r"section (\w+) is not used by SemanticSegmentor", caplog.text) == said


def test_missing_required_keys(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("epoch: 1")
    lines = problems_of(tmp_path / "a.yml")
    assert [line.split(": ")[1] for line in lines] == ["key 'architecture' is missing.", "key 'num_classes' is missing."]


def test_dump_reads_back_as_the_same_tree(base: Path) -> None:
    cfg = load_config(leaf(base, "TrainDataset: {fold: 3}"), ["epoch=5", "LearningRate.schedulers.1.steps=2"])
    text = dump_config(cfg)
    again = base.with_name("again.yml")
    again.write_text(text)
    tree, _ = read_tree(again)
    assert tree == cfg.resolved
    assert isinstance(tree["TrainDataset"], Tagged)
    assert dump_config(load_config(again)) == text
    assert "_BASE_" not in text


def test_override_of_one_alias_leaves_the_other(base: Path) -> None:
    path = leaf(base, "EvalReader: &whole {sample_transforms: [ReadImage: {}], batch_size: 1}\nTestReader: *whole\n")
    cfg = load_config(path, ["EvalReader.batch_size=5", "EvalReader.sample_transforms.0.ReadImage={}"])
    assert (cfg.EvalReader["batch_size"], cfg.TestReader["batch_size"]) == (5, 1)


@pytest.mark.parametrize("kind", ["SteelDataSet", "FashionDataSet", "CocoJsonDataSet"])
def test_training_on_the_evaluated_fold_is_refused(base: Path, kind: str) -> None:
    one, two = (f"!{kind} {{dataset_dir: a, fold: {fold}, part: {part}}}" for fold, part in ((1, "train"), (2, "val")))
    for train in (one, f"!MixedDataSet {{labelled: {one}, pseudo: {one}, ratio: 0.5}}"):
        lines = problems_of(base, f"TrainDataset={train}", f"EvalDataset={two}")
        assert "training would see the images that are evaluated" in lines[0]
        assert len(lines) == 1


@pytest.mark.parametrize(("key", "value"), [("num_folds", "4"), ("split", "split.csv"), ("seed", "1")])
def test_folds_that_are_cut_in_another_way_are_refused(base: Path, key: str, value: str) -> None:
    one, two = (f"!SteelDataSet {{dataset_dir: a, fold: 1, part: {part}}}" for part in ("train", "val"))
    assert load_config(base, [f"TrainDataset={one}", f"EvalDataset={two}"])
    lines = problems_of(base, f"TrainDataset={one}", f"EvalDataset={two[:-1]}, {key}: {value}}}")
    assert f"Set both to the same {key}." in lines[0]


def test_image_folder_is_ours_and_data_sets_of_ppdet_are_refused(base: Path) -> None:
    cfg = load_config(base, ["TestDataset=!ImageFolder {images: [a.jpg]}"])
    assert type(cfg.TestDataset).__module__ == "ppdet_ext.data.datasets.folder"
    message = problems_of(base, "TestDataset=!VOCDataSet {dataset_dir: x}")[0]
    assert "VOCDataSet is a data set of ppdet, made for its own samples; here there are " in message


@pytest.mark.parametrize(("transforms", "message"), [
    ("sample_transforms=[RandomCrop: {}]", "RandomCrop is an operator of ppdet, made for its own samples; here Crop"),
    ("sample_transforms=[RandomDistort: {}]", "here JitterColor does that."),
    ("sample_transforms=[Mosaic: {}]", "Mosaic is an operator of ppdet, made for its own samples; here there are "),
    ("batch_transforms=[BatchPadding: {}]", "here PadToStride does that."),
    ("batch_transforms=[BatchRandomResize: {}]", "here ResizeShortEdge with several short_edges does that."),
    ("sample_transforms=[PadToStride: {}]", "PadToStride is a batch transform, no transform."),
    ("sample_transforms=[TopK: {}]", "TopK is a step, no transform."),
    ("sample_transforms=[DilatedEncodr: {}]", "transform 'DilatedEncodr' is not registered. There are "),
    ("sample_transforms=[FPN: {}]", "transform 'FPN' is not registered. There are "),
])  # fmt: skip
def test_hints_are_of_the_kind_asked_for(base: Path, transforms: str, message: str) -> None:
    (line,) = problems_of(base, f"TrainReader.{transforms}")
    assert message in line


def test_architectures_of_ppdet_without_an_adapter_are_refused(base: Path) -> None:
    line = problems_of(base, "architecture=JDE")[0]
    assert "architecture 'JDE' is an architecture of ppdet that has no adapter here. There are " in line
    assert "HybridTaskCascade" in line


def test_a_flood_of_problems_is_cut_to_a_readable_message() -> None:
    with pytest.raises(UserError) as caught:
        load_config("configs/htc/steel_sample.yml", [*(f"key_{i}=1" for i in range(99)), f"seed={'x' * 5000}"])
    lines = str(caught.value).splitlines()
    assert lines[-1] == "… and 60 more."
    assert len(lines) == 41
    assert max(map(len, lines)) <= 601
