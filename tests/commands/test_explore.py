"""tools/explore.py: its files, whatever the data are."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_data import HEIGHT, WIDTH, block, coco_content, write_coco, write_csv, write_jpeg

from ppdet_ext import explore_data
from ppdet_ext.commands.explore import Options, explore
from ppdet_ext.commands.main import run
from ppdet_ext.config.load import load_config
from ppdet_ext.data.images.depth import AS_SHOWN
from ppdet_ext.errors import UserError
from ppdet_ext.explore.advice import option_line
from ppdet_ext.explore.pixels import read_pixels

EVIL = "</script><u>&\"'`{{ 7 * 7 }}"


def configured(folder: Path, train: str, held: str = "null", classes: int = 2) -> str:
    """Path of a configuration whose data sets are these."""
    path = folder / "mine.yml"
    root = Path(__file__).resolve().parents[2]
    bases = ", ".join(f"{root}/configs/_base_/{name}" for name in ("models/htc_r18_small.yml", "readers/coco_mini.yml"))
    text = f"_BASE_: [{bases}]\nnum_classes: {classes}\nsave_dir: {folder}/out\nTrainDataset: {train}\nEvalDataset: {held}\n"
    path.write_text(text, encoding="utf-8")
    return str(path)


def pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        write_jpeg(folder / name, seed=seed)


def page_of(folder: Path) -> str:
    return (folder / "explore.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def steel(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A CSV with faults, a duplicate across parts, tiny objects and many clean sheets; the configuration and the folder."""
    folder = tmp_path_factory.mktemp("explored")
    names = [f"{i}.jpg" for i in range(9)]
    pictures(folder / "train_images", names)
    # The same picture in training (0) and in evaluation (8).
    (folder / "train_images" / "8.jpg").write_bytes((folder / "train_images" / "0.jpg").read_bytes())
    text = block(2, 3, 12, 20).to_kaggle()
    dot = block(25, 50, 2, 2).to_kaggle()
    rows: list[tuple] = [("0.jpg", 1, text), ("1.jpg", 2, text), ("1.jpg", 3, dot), ("2.jpg", 1, "5 x"), ("8.jpg", 4, text)]
    write_csv(folder, rows)
    (folder / "train.txt").write_text("\n".join(names[:8]))
    (folder / "val.txt").write_text(names[8])
    keys = f"dataset_dir: {folder}, height: {HEIGHT}, width: {WIDTH}"
    train, held = (f"!SteelDataSet {{{keys}, split: {split}.txt}}" for split in ("train", "val"))
    return configured(folder, train, held, 4), folder


def test_files_say_what_is_wrong_and_the_lines_mend_it(steel: tuple[str, Path], capsys: pytest.CaptureFixture) -> None:
    config, folder = steel
    assert run("explore", ["-c", config, "--output", str(folder / "page")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"8 images with 4 objects looked at in [\d.]+ s: .*explore.html", said)
    facts = json.loads((folder / "page" / "explore.json").read_text())
    assert [leak["images"] for leak in facts["leaks"]["groups"]] == [[["train", "0.jpg"], ["eval", "8.jpg"]]]
    assert [one["part"] for one in facts["problems"]] == ["train", "train", "eval"]
    assert "image 2.jpg, row 5" in facts["problems"][1]["examples"][0]
    assert [one["key"] for one in facts["suspicious"]] == ["tiny"]
    assert facts["head"]["pixels"]
    page = page_of(folder / "page")
    assert f'<span class="pair">{WIDTH}×' in page
    assert "Smaller than 16 px²" in page
    options = [option for one in facts["advice"] for option in one["options"]]
    assert {"TrainDataset.on_error=skip", "TrainDataset.min_instance_area=16", "TrainDataset.empty_ratio=0.25"} <= set(options)
    with pytest.raises(UserError, match="has faults"):
        load_config(config).TrainDataset.load()
    mended = load_config(config, shlex.split(option_line(options))[1:])
    after = explore(mended, Options(output=folder / "after", pictures=False))
    assert (after.suspicious, after.head.parts[0].empty) == ([], 0)
    assert mended.TrainDataset.load().records


def test_the_same_data_give_the_same_bytes_with_and_without_the_cache(
    steel: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, _ = steel
    monkeypatch.setenv("PPDET_EXT_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        explore(load_config(config), Options(output=tmp_path / name, workers=1 if name == "one" else 3), config)
        monkeypatch.setattr("ppdet_ext.explore.pixels._look", lambda file, reading: pytest.fail(f"{file} is read again"))
    for file in ("explore.html", "explore.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_without_pictures_none_is_read(steel: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config, _ = steel
    monkeypatch.setattr("ppdet_ext.explore.analysis.read_pixels", lambda *given: pytest.fail("pictures are read"))
    facts = explore_data(config, pictures=False, output_dir=tmp_path)
    assert (facts.head.pixels, facts.leaks.count, facts.odd) == (False, 0, [])
    page = page_of(tmp_path)
    assert "made without pictures" in page
    assert "data:image" not in page
    assert len(page) < 300_000


def test_pictures_that_have_no_room_are_left_out_and_counted(
    steel: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, _ = steel
    explore(load_config(config), Options(output=tmp_path / "all"))
    whole = page_of(tmp_path / "all").count("data:image/jpeg")
    monkeypatch.setattr("ppdet_ext.explore.page.album.BYTES", 12_000)
    explore(load_config(config), Options(output=tmp_path / "few"))
    page = page_of(tmp_path / "few")
    (left,) = re.findall(r"(\d+) pictures? (?:was|were) left out", page)
    assert 0 < page.count("data:image/jpeg") == whole - int(left)


def coco(folder: Path, classes: list[str], content: dict[str, Any] | None = None) -> str:
    made = content or coco_content()
    made["categories"] = [{"id": i, "name": name} for i, name in enumerate(classes, 1)]
    pictures(folder / "images", [image["file_name"] for image in made["images"]])
    write_coco(folder, made)
    keys = f'dataset_dir: "{folder}", anno_path: instances.json, image_dir: images'
    return configured(folder, f"!CocoJsonDataSet {{{keys}}}", classes=len(classes))


@pytest.mark.parametrize("classes", [1, 350])
def test_names_are_harmless_and_classes_may_be_many(tmp_path: Path, classes: int) -> None:
    content = coco_content()
    content["images"][0]["file_name"] = "<b>.jpg"
    for i, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = min(1 + 170 * i, classes)
    names = [EVIL, *(f"class {i}" for i in range(classes - 1))]
    config = coco(tmp_path, names, content)
    assert run("explore", ["-c", config, "--part", "train", "--output", str(tmp_path / "page")]) == 0
    page = page_of(tmp_path / "page")
    assert "<b>.jpg" not in page
    assert "<u>" not in page
    assert "&lt;b&gt;.jpg" in page
    assert "{{ 7" in page
    assert page.count("data:image/jpeg") == 2
    # Rows of nothing but zeros are folded into one line.
    assert ("348 of 350 classes without an object</summary><p>class 0, class 1," in page) == (classes == 350)
    assert page.count(' id="class-') < 3
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", page)
    assert len(page) < 3_000_000
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_no_object_at_all(tmp_path: Path) -> None:
    config = coco(tmp_path, ["a"], {**coco_content(), "annotations": []})
    facts = explore(load_config(config))
    assert (facts.head.objects, facts.places, facts.anchors) == (0, None, None)
    assert [one.text for one in facts.advice] == ["None of the train part's 2 images has an object."]
    assert "There is no object to show." in page_of(tmp_path / "out" / "mine" / "explore")


def test_mixed_sets_and_parts_without_annotations(tmp_path: Path) -> None:
    pictures(tmp_path / "train_images", ["0.jpg", "1.jpg"])
    pictures(tmp_path / "more", ["2.jpg"])
    text = block(2, 3, 12, 20).to_kaggle()
    write_csv(tmp_path, [("0.jpg", 1, text), ("1.jpg", 2, text)])
    dot = block(25, 50, 2, 2).to_kaggle()
    (tmp_path / "more.csv").write_text(f"ImageId,ClassId,EncodedPixels\n2.jpg,3,{text}\n2.jpg,4,{dot}\n")
    keys = f"dataset_dir: {tmp_path}, height: {HEIGHT}, width: {WIDTH}"
    pseudo = f"!SteelDataSet {{{keys}, anno_path: more.csv, image_dir: more}}"
    train = f"!MixedDataSet {{labelled: !SteelDataSet {{{keys}}}, pseudo: {pseudo}}}"
    config = configured(tmp_path, train, f"!ImageFolder {{images: {tmp_path}/more}}", 4)
    facts = explore(load_config(config), Options(output=tmp_path / "page"))
    assert [(part.name, part.images, part.annotated) for part in facts.head.parts] == [("train", 3, True), ("eval", 1, False)]
    assert [leak.kind for leak in facts.leaks.groups] == ["file"]
    (tiny,) = [one for one in facts.advice if "Smaller" in one.text]
    assert tiny.options == ["TrainDataset.labelled.min_instance_area=16", "TrainDataset.pseudo.min_instance_area=16"]
    assert not explore(load_config(config, tiny.options), Options(output=tmp_path / "page")).suspicious


def test_what_cannot_be_done_is_said(tmp_path: Path, steel: tuple[str, Path]) -> None:
    config, _ = steel
    with pytest.raises(UserError, match="no TestDataset"):
        explore(load_config(config), Options(parts=["test"], output=tmp_path))
    with pytest.raises(UserError, match="--workers is -1"):
        explore(load_config(config), Options(workers=-1, output=tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output"):
        explore(load_config(config), Options(output=tmp_path / "file", pictures=False))


def test_masks_in_another_order_are_told_with_the_line_that_mends_it(tmp_path: Path) -> None:
    pictures(tmp_path / "train", [f"{i}.jpg" for i in range(12)])
    # Numbered along the rows, and said to be down the columns.
    rows = [(f"{i}.jpg", block(3, 8 + i, 14, 24).transpose().to_kaggle()) for i in range(12)]
    write_csv(tmp_path, rows, "name,pixels")
    described = 'columns: {name: "{name}", pixels: "{rle}"}, class_names: [a]'
    config = configured(tmp_path, f"!RleCsvDataSet {{dataset_dir: {tmp_path}, {described}}}", classes=1)
    with pytest.raises(UserError, match=r"-o TrainDataset.order=rows") as error:
        explore(load_config(config), Options(output=tmp_path / "page"))
    (line,) = re.findall(r"-o (\S+=\S+)$", str(error.value))
    assert explore(load_config(config, [line]), Options(output=tmp_path / "page")).head.objects == 12


def test_a_picture_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    found = read_pixels(["/nowhere/a.jpg"], AS_SHOWN, 1, tmp_path)
    assert np.isnan(found.values).all()
    assert list(found.faults) == ["/nowhere/a.jpg"]
