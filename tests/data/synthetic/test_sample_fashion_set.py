"""The fashion set on disk: iMaterialist's layout, read by its data set, resumable; and the kinds in config and command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import FashionDataSet
from ppdet_ext.data.loading.build import prepare_sample
from ppdet_ext.data.synthetic import KINDS, SampleSpec, part_of, write_sample_set
from ppdet_ext.data.synthetic.__main__ import main
from ppdet_ext.data.synthetic.fashion import kind as fashion
from ppdet_ext.data.synthetic.fashion import labels, make_picture
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

SPEC = SampleSpec(images=8, seed=2, height=128, width=96, kind="fashion")
FLAGS = ["--kind", "fashion", "--images", "8", "--seed", "2", "--height", "128", "--width", "96"]
name_of = KINDS["fashion"].name


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("fashion") / "set"
    assert write_sample_set(out, SPEC) is True
    return out


def test_layout_is_that_of_2019(made):
    lists = {"sample.json", "split.csv", "train.csv", "train.txt", "val.txt", "label_descriptions.json"}
    assert set(content(made)) == lists | {f"train/{name_of(i)}" for i in range(8)}
    assert (made / "train.csv").read_text().startswith("ImageId,EncodedPixels,Height,Width,ClassId\n")
    described = json.loads((made / "label_descriptions.json").read_text())
    assert set(described) == {"info", "categories", "attributes"}
    for entries, known in ((described["categories"], labels.CATEGORIES), (described["attributes"], labels.ATTRIBUTES)):
        assert [(entry["id"], entry["name"], entry["supercategory"]) for entry in entries] == [
            (number, *names) for number, names in enumerate(known)
        ]
        assert all(set(entry) == {"id", "name", "supercategory", "level"} for entry in entries)


def test_rows_are_the_instances_of_the_pictures(made):
    with (made / "train.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for index in range(8):
        instances = make_picture(2, index, 128, 96).instances
        ours = [row for row in rows if row["ImageId"] == name_of(index)]
        assert len(ours) == len(instances)
        for row, item in zip(ours, instances):
            assert (int(row["Height"]), int(row["Width"])) == item.mask.shape
            assert row["ClassId"] == "_".join(map(str, [item.class_id, *item.attributes]))
            assert np.array_equal(Rle.from_kaggle(row["EncodedPixels"], *item.mask.shape).to_bitmap(), item.mask)
    assert any("_" in row["ClassId"] for row in rows)
    assert any("_" not in row["ClassId"] for row in rows)


def test_the_data_set_reads_it(made):
    data = FashionDataSet(dataset_dir=str(made), split="split.csv", part="val", cache=False)
    assert [record.name for record in data.records] == [name_of(i) for i in range(8) if part_of(i) == "val"]
    assert data.class_names == [name for name, _ in labels.CATEGORIES]
    for record in data.records:
        instances = make_picture(2, int(record.name[5:10]), 128, 96).instances
        assert record.labels.tolist() == [item.class_id for item in instances]
        assert [tuple(found) for found in record.attributes] == [item.attributes for item in instances]
        assert [mask.area for mask in record.masks] == [item.mask.sum() for item in instances]


def test_an_interrupted_set_goes_on_where_it_stopped(made, tmp_path, monkeypatch):
    asked = []

    def stopping(seed, index, height, width):
        asked.append(index)
        if asked == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return make_picture(seed, index, height, width)

    monkeypatch.setattr(fashion, "make_picture", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_sample_set(tmp_path, SPEC)
    assert write_sample_set(tmp_path, SPEC) is True
    assert asked == [0, 1, 2, 3, *range(3, 8)]
    assert content(tmp_path) == content(made)
    assert write_sample_set(tmp_path, SPEC) is False


def test_a_lost_file_of_names_is_made_again(made, tmp_path):
    write_sample_set(tmp_path, SPEC)
    (tmp_path / "label_descriptions.json").unlink()
    assert write_sample_set(tmp_path, SPEC) is True
    assert content(tmp_path) == content(made)


def test_kinds_do_not_overwrite_each_other(made, tmp_path):
    before = content(made)
    with pytest.raises(UserError, match=r"other settings .*kind fashion"):
        write_sample_set(made, SampleSpec(images=8, seed=2, height=128, width=256))
    assert content(made) == before
    steel = SampleSpec(images=4, height=64, width=128)
    write_sample_set(tmp_path, steel)
    assert "kind" not in steel.meta, "sets made before there were kinds stay valid"
    with pytest.raises(UserError, match=r"other settings .*kind steel"):
        write_sample_set(tmp_path, SPEC)


def test_bad_parameters():
    with pytest.raises(UserError, match=r"kind 'fashon' .* Did you mean 'fashion'"):
        SampleSpec(kind="fashon")
    with pytest.raises(UserError, match="There are steel, fashion"):
        SampleSpec(kind="xyz")
    for wrong in ({"height": 64}, {"width": 400}, {"width": 90}):
        with pytest.raises(UserError, match="height must be"):
            SampleSpec(kind="fashion", **wrong)


def test_command_line(made, tmp_path, capsys):
    assert main(["--out", str(tmp_path / "set"), *FLAGS]) == 0
    assert "8 looks 96×128, 2 held out" in capsys.readouterr().out
    assert content(tmp_path / "set") == content(made)
    assert main(["--out", str(tmp_path / "set"), "--kind", "fashin"]) == 1
    assert "Did you mean 'fashion'" in capsys.readouterr().err


def sample_config(folder: Path, *overrides: str):
    small = "SampleData={kind: fashion, images: 8, seed: 2, height: 128, width: 96}"
    return load_config("configs/htc/fashion_sample.yml", [small, f"TrainDataset.dataset_dir={folder}", *overrides])


def test_a_configuration_makes_its_sample_where_it_is_read(made, tmp_path):
    prepare_sample(sample_config(tmp_path / "new"))
    assert content(tmp_path / "new") == content(made)


def test_data_of_ones_own_and_other_data_sets_are_left_alone(tmp_path):
    (tmp_path / "train.csv").write_text("mine")
    prepare_sample(sample_config(tmp_path))
    steel = f"TrainDataset=!SteelDataSet {{dataset_dir: {tmp_path}/none}}"
    prepare_sample(sample_config(tmp_path / "none", steel, "num_classes=4"))
    assert content(tmp_path) == {"train.csv": b"mine"}


def test_an_unknown_kind_in_a_configuration_is_named():
    with pytest.raises(UserError, match=r"SampleData: there is no kind 'fashon' .* Did you mean 'fashion'\?"):
        load_config("configs/htc/fashion_sample.yml", ["SampleData.kind=fashon"])
