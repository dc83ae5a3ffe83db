"""`RleCsvDataSet`: rows of a dozen competitions against what plain numpy decoded, and what a description can be."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import write_jpeg

from ppdet_ext.commands.cli import config_of
from ppdet_ext.commands.flags import eval_parser
from ppdet_ext.data.datasets import RleCsvDataSet, SteelDataSet
from ppdet_ext.data.formats.csv_rows import layout_of, read_rows
from ppdet_ext.data.formats.rle_csv import IMATERIALIST, SEVERSTAL, RleCsv
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

ONE = {"class_names": ["thing"]}
IMAGE = {"rows": "image", **ONE}
CLOUDS = ["Fish", "Flower", "Gravel", "Sugar"]
ORGANS = ["large_bowel", "small_bowel", "stomach"]
# Folder, file, columns, other arguments: the columns of the competitions, as rows of theirs or of their layout show them.
DIALECTS = {
    "airbus_ship": ("train_ship_segmentations_v2.csv", "ImageId,EncodedPixels", ONE),
    "carvana": ("train_masks_prefix.csv", "img,rle_mask", {"order": "rows", **IMAGE}),
    "contrails": ("submission.csv", "record_id,encoded_pixels", {"blank": ["-"], **IMAGE}),
    "hubmap_2021_2022": ("train_layout_2021.csv", "id,encoding", IMAGE),
    "sennet_vessels": ("train_rles_layout.csv", "id,rle", {"order": "rows", "blank": ["1 0"], **IMAGE}),
    "siim_pneumothorax": ("train-rle.csv", "ImageId,EncodedPixels", {"base": 0, "relative": True, "blank": ["-1"], **ONE}),
    "tgs_salt": ("submission_rows.csv", "id,rle_mask", {"image_suffix": ".png", **IMAGE}),
    "vesuvius": ("inklabels_rle_layout.csv", "Id,Predicted", {"order": "rows", **IMAGE}),
    "understanding_clouds": ("train_prefix.csv", "Image_Label,EncodedPixels", {"rows": "class", "class_names": CLOUDS}),
    "uw_madison_gi": ("train_rows.csv", "id,segmentation,class", {"rows": "class", "order": "rows", "class_names": ORGANS}),
    "sartorius": ("train_layout.csv", "id,annotation,width,height", {"order": "rows", "image_suffix": ".png", **ONE}),
}


def columns_of(name: str, header: str) -> dict[str, str]:
    """Header -> its field: the image first, the mask second."""
    first, second, *others = header.split(",")
    named = "{name}_{class_name}" if name == "understanding_clouds" else "{name}"
    fields = {"class": "{class_name}", "width": "{width}", "height": "{height}"}
    return {first: named, second: "{rle}", **{other: fields[other] for other in others}}


@pytest.mark.parametrize("name", DIALECTS)
def test_rows_of_a_competition(shared: Path, name: str) -> None:
    folder = shared / "data/rle" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    file, header, options = DIALECTS[name]
    expected = [row for row in json.loads((folder / "expected.json").read_text())["rows"] if row.get("file", file) == file]
    sizes = {(row["height"], row["width"]) for row in expected}
    assert len(sizes) == 1
    size = {} if name == "sartorius" else dict(zip(("height", "width"), sizes.pop()))
    dataset = RleCsvDataSet(
        str(folder), columns_of(name, header), anno_path=file, check_images="none", cache=False, **size, **options
    )
    found: dict[tuple[str, str], list[Rle]] = {}
    for record in dataset.records:
        for label, mask in zip(record.labels.tolist(), record.masks):
            found.setdefault((Path(record.name).stem if dataset.image_suffix else record.name, label), []).append(mask)
    assert {record.name for record in dataset.records} == {row["image"] + dataset.image_suffix for row in expected}
    whole = dataset.rows != "instance"
    for row in expected:
        label = dataset.class_names.index(row["cls"]) if name in ("understanding_clouds", "uw_madison_gi") else 0
        masks = found.get((row["image"], label), [])
        if not row["area"]:
            assert not masks
            continue
        mask = Rle.merge(masks) if whole else masks.pop(0)
        x1, y1, x2, y2 = map(int, mask.box)
        assert (mask.area, [x1, y1, x2 - x1, y2 - y1]) == (row["area"], row["bbox"])
        assert not whole or len(masks) == row["components8"]


FORMS = st.builds(
    RleCsv,
    st.just({"id": "{name}_{class_id}", "other": "{height} {width}", "mask": "{rle}"}),
    rows=st.sampled_from(["class", "instance"]),
    base=st.integers(0, 1),
    order=st.sampled_from(["columns", "rows"]),
    relative=st.booleans(),
    blank=st.sampled_from([(), ("-1",), ("1 0", "x")]),
)


@settings(max_examples=60)
@given(FORMS, st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2**30 - 1)), max_size=4))
def test_what_is_written_reads_back(tmp_path_factory, form: RleCsv, objects: list[tuple[int, int]]) -> None:
    masks = [Rle.from_bitmap(np.array([bits >> i & 1 for i in range(30)], bool).reshape(5, 6)) for _, bits in objects]
    rows = form.annotation("a_b.jpg", 5, 6, [(str(label), mask) for (label, _), mask in zip(objects, masks)], "012")
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([form.header, *rows])
    problems = Problems("written")
    found = list(read_rows(str(path), layout_of(str(path), [form]), "", problems))
    assert not len(problems)
    assert {(row.name, row.height, row.width) for row in found} == {("a_b.jpg", "5", "6")}
    read = [(int(row.class_text), form.mask_of(row.rle, 5, 6)) for row in found if not form.is_blank(row.rle)]
    if form.rows == "instance":
        assert read == [(label, mask) for (label, _), mask in zip(objects, masks)]
    else:
        labels = dict.fromkeys(label for label, _ in objects)
        unions = {k: Rle.merge([mask for (label, _), mask in zip(objects, masks) if label == k]) for k in labels}
        assert dict(read) == unions


def test_the_layout_with_the_most_columns_of_a_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    for header, layouts, which in (
        ("ImageId,EncodedPixels,Height,Width,ClassId", IMATERIALIST, 0),
        ("ClassId,EncodedPixels,Height,Width,ImageId,AttributesIds,more", IMATERIALIST, 1),
        ("ImageId_ClassId,EncodedPixels", SEVERSTAL, 1),
    ):
        path.write_text(header + "\n")
        assert layout_of(str(path), layouts) is layouts[which]


@pytest.mark.parametrize(("columns", "options", "message"), [
    ({"a": "{name}"}, {}, "one of them must hold {rle}"),
    ({"a": "{nam}", "b": "{rle}"}, {}, "columns.a: unknown field in '{nam}'. There are {name}, {rle}, {class_id}"),
    ({"a": "{name}", "b": "{rle}"}, {"rows": "class"}, "with rows: class one of them must hold {class_id}"),
    ({"a": "{name}", "b": "{rle}", "c": "{class_id}", "d": "{class_name}"}, {}, "one says the class"),
    ({"a": "{name}", "b": "{rle}"}, {"rows": "row"}, "rows: 'row' is not one of instance, class, image"),
    ({"a": "{name}", "b": "{rle}"}, {"base": 2}, "base: 2 is not one of 0, 1"),
    ({"a": "{name}", "b": "{rle}"}, {"order": "F"}, "order: 'F' is not one of columns, rows"),
    ({"a": "{name}", "b": "{rle}"}, {"class_names": ["x", "y"]}, "2 classes, but columns say of none"),
    ({"a": "{name}", "b": "{rle}"}, {"height": 5}, "height and width: set both"),
    ({"a": "{name}", "b": "{rle}"}, {"category_ids": [1, 2]}, "category_ids and class_names: one for each class"),
    ({"a": "{name}", "b": "{rle}", "c": "{height}"}, {}, "columns: {height} and {width} go together"),
])  # fmt: skip
def test_a_description_that_describes_nothing_is_refused_at_once(columns: dict, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        RleCsvDataSet("nowhere", columns, **{**ONE, **options})


def written(folder: Path, text: str) -> Path:
    (folder / "train").mkdir()
    for name in ("a.png", "b.png"):
        write_jpeg(folder / "train" / name, 4, 6)
    (folder / "train.csv").write_text(text)
    return folder


def test_faults_are_named_by_the_descriptions_own_columns(tmp_path: Path) -> None:
    rows = "who_what,where\na_cat,1 2\na_cat,3 1\na_dog,1 x\nb_cow,1 2\n_cat,1 2\ncat,1 2\nb_dog,99 1\nb_cat\n"
    columns = {"who_what": "{name}_{class_name}", "where": "{rle}"}
    options = {"image_suffix": ".png", "repeated": "error"}
    dataset = RleCsvDataSet(str(written(tmp_path, rows)), columns, ["cat", "dog"], "class", **options)
    with pytest.raises(UserError) as caught:
        dataset.load()
    for part in (
        "1 further row of an image and class, with another mask: a.png class cat (row 3, the first in row 2)",
        "2 rows whose where is no mask of the image's height x width: image a.png, row 4: 'x' in where is not an integer",
        "image b.png, row 8: run 1 of where ('99 1') reaches beyond the 24 pixels",
        "1 row of an unknown class (known: cat, dog): b.png class 'cow' (row 5)",
        "The file has the classes cat, cow, dog. Complete class_names to these, or mend the rows.",
        "2 rows whose who_what is not of the form {name}_{class_name}: '_cat' (row 6); 'cat' (row 7)",
        "1 row with other than 2 fields: 'b_cat' (row 9) has 1 field",
    ):
        assert part in str(caught.value)


def test_several_rows_of_a_class_are_united_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "n,c,m\na.png,cat,1 2\na.png,dog,\nb.png,cat,5 1\na.png,cat,3 1 9 1\na.png,dog,7 2\nb.png,cat,5 1\nb.png,cat,\n"
    columns = {"n": "{name}", "c": "{class_name}", "m": "{rle}"}
    folder = str(written(tmp_path, rows))
    for _ in range(2):  # Read, and from the cache.
        caplog.clear()
        records = RleCsvDataSet(folder, columns, ["cat", "dog"], "class").records
        first = [(int(label), mask.to_kaggle()) for label, mask in zip(records[0].labels, records[0].masks)]
        assert first == [(0, "1 3"), (0, "9 1"), (1, "7 2")]
        assert [mask.to_kaggle() for mask in records[1].masks] == ["5 1"]
        for part in (
            "3 rows united with others of the same image and class: a.png class cat (row 5); a.png class dog (row 6); b.png",
            "1 row repeating another row of the same image and class: b.png class cat (row 7)",
        ):
            assert part in caplog.text


def test_rows_for_each_instance_in_severstals_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the remedy for several rows of a class leads to: touching instances stay apart, a blank mask is none."""
    folder = str(written(tmp_path, "ImageId,ClassId,EncodedPixels\na.png,1,1 2\na.png,1,3 1\nb.png,1,\n"))
    records = RleCsvDataSet(folder, preset="severstal", rows="instance", height=4, width=6).records
    assert [[mask.to_kaggle() for mask in record.masks] for record in records] == [["1 2", "3 1"], []]
    assert "1 row with a class but no mask, taken for none of that class: b.png class 1 (row 4)" in caplog.text


def test_several_rows_of_an_image_are_united_but_severstals_are_a_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = str(written(tmp_path, "id,rle_mask\na,1 2\na,3 1\nb,\nb,\n"))
    size = {"height": 4, "width": 6}
    records = RleCsvDataSet(folder, preset="tgs", **size).records
    assert [[mask.to_kaggle() for mask in record.masks] for record in records] == [["1 3"], []]
    assert "1 row united with others of the same image: a (row 3)" in caplog.text
    with pytest.raises(UserError, match=r"1 further row of an image, with another mask: a \(row 3, the first in row 2\)"):
        RleCsvDataSet(folder, preset="tgs", repeated="error", **size).load()
    (tmp_path / "train.csv").write_text("ImageId,ClassId,EncodedPixels\na.png,1,1 2\na.png,1,3 1\n")
    with pytest.raises(
        UserError, match=r"class 1 \(row 3, the first in row 2\)\n.*rows: instance, and repeated: union unites them"
    ):
        RleCsvDataSet(folder, preset="severstal", **size).load()
    united = RleCsvDataSet(folder, preset="severstal", repeated="union", **size).records[0]
    assert [mask.to_kaggle() for mask in united.masks] == ["1 3"]
    with pytest.raises(UserError, match="repeated: 'unite' is not one of union, error"):
        RleCsvDataSet(folder, preset="severstal", repeated="unite")


def test_ids_that_pandas_wrote_as_floats_are_ids(tmp_path: Path) -> None:
    rows = "n,c,m\na.png,2.0,1 2\na.png,1.,3 1\nb.png,,\n"
    dataset = RleCsvDataSet(str(written(tmp_path, rows)), {"n": "{name}", "c": "{class_id}", "m": "{rle}"}, ["x", "y"])
    assert [record.labels.tolist() for record in dataset.records] == [[1, 0], []]


def test_the_presets_are_such_descriptions(steel: Path) -> None:
    columns = {"ImageId": "{name}", "ClassId": "{class_id}", "EncodedPixels": "{rle}"}
    size = {"height": 32, "width": 64}
    names = [f"defect_{i}" for i in range(1, 5)]
    mine = RleCsvDataSet(str(steel), columns, names, "class", image_dir="train_images", **size).records
    theirs = SteelDataSet(str(steel), **size).records
    assert [(r.name, r.masks, r.labels.tolist()) for r in mine] == [(r.name, r.masks, r.labels.tolist()) for r in theirs]


def test_yaml_restores_it() -> None:
    text = (
        "!RleCsvDataSet {dataset_dir: x, columns: {a: '{name}', b: '{rle}'}, class_names: [ship], order: rows, blank: ['-1']}"
    )
    dataset = yaml.load(text, Loader=yaml.Loader)
    again = yaml.load(yaml.dump(dataset), Loader=yaml.Loader)
    assert vars(again).keys() == vars(dataset).keys()
    assert (again.columns, again.layouts) == (dataset.columns, dataset.layouts)


def test_the_examples_of_the_documentation(root: Path, tmp_path: Path) -> None:
    text = (root / "dataset/README.md").read_text()
    (block,) = (one for one in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "!RleCsvDataSet" in one)
    (tmp_path / "mine.yml").write_text(f"_BASE_: [{root}/configs/htc/steel.yml]\n{block}")
    cfg = config_of(eval_parser().parse_args(["-c", str(tmp_path / "mine.yml")]))
    assert isinstance(cfg.TrainDataset, RleCsvDataSet)
    assert cfg.num_classes == len(cfg.TrainDataset.class_names)
    described = re.findall(r"^\| [^|]+ \| `(\{columns: .*\})` \|$", text, re.MULTILINE)
    assert len(described) == 5
    for options in described:
        assert RleCsvDataSet("nowhere", class_names=["thing"], **yaml.safe_load(options)).layouts[0].fields >= {"name", "rle"}
