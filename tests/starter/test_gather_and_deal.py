"""Labels and pictures brought together and dealt out: what is missing, copied, grouped, told by the export."""

import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppdet_ext.data.labels.label_set import LabelledImage, LabelledObject, LabelSet
from ppdet_ext.data.labels.pictures import Pictures
from ppdet_ext.data.splits.stratify import indicator
from ppdet_ext.errors import UserError
from ppdet_ext.starter.deal import deal, side_of, table, with_each_class
from ppdet_ext.starter.gather import like_classes, named_by_file, with_classes_renamed, with_pictures, with_unlabelled
from ppdet_ext.structures import Rle

HEIGHT, WIDTH = 40, 60


def picture(path: Path, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7)).astype(np.uint8)
    Image.fromarray(coarse).resize(size[::-1]).save(path)
    return path


def image(name: str, *classes: str, folder: Path | None = None, **more) -> LabelledImage:
    objects = [LabelledObject(own, Rle.full(5, 5).place(3 + 2 * i, 4, HEIGHT, WIDTH)) for i, own in enumerate(classes)]
    return LabelledImage(name, HEIGHT, WIDTH, objects, file=None if folder is None else str(folder / name), **more)


def labels_of(*images: LabelledImage, classes: tuple[str, ...] = ("pit", "scratch")) -> LabelSet:
    return LabelSet("labelme", list(classes), list(images))


def test_missing_pictures_are_counted_with_near_names_or_skipped(tmp_path: Path) -> None:
    picture(tmp_path / "sheet_01.png", 1)
    picture(tmp_path / "small.png", 2, (20, 30))
    found = labels_of(
        image("sheet_01.png", "pit", folder=tmp_path), image("small.png", "pit", folder=tmp_path), image("shet_01.png", "pit")
    )
    pictures = Pictures(str(tmp_path))
    with pytest.raises(UserError) as error:
        with_pictures(found, pictures, skip=False)
    assert "1 labelled picture not found: shet_01.png: There is sheet_01.png" in str(error.value)
    assert "small.png is 30x20 px, its labels are for 60x40 px" in str(error.value)
    assert "--on_error skip" in str(error.value)
    # What is a mask is no photograph that was meant.
    found.lost.append(str(tmp_path / "sheet_01.png"))
    far = labels_of(image("other.png", "pit"))
    for lost in ([], [str(tmp_path / "sheet_01.png")]):
        far.lost, count = lost, 2 - len(lost)
        with pytest.raises(UserError, match=rf"not found: other\.png: not in {tmp_path}, which has {count} other picture"):
            with_pictures(far, pictures, skip=False)
    # What is true of several is said once; the remedy comes first.
    far = labels_of(*(image(f"{number:05}.png", "pit") for number in range(7)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        with_pictures(far, Pictures(str(tmp_path / "empty")), skip=False)
    assert str(error.value) == (
        "Say where the pictures are: --images DIR, or leave these labels out: --on_error skip. 7 labelled pictures not found: "
        f"00000.png, 00001.png, 00002.png, 00003.png, 00004.png, …: not in {tmp_path / 'empty'}, which has no picture."
    )
    with pytest.raises(UserError, match=rf"shet_01\.png: not in {tmp_path}, which has 1 other picture[;.]"):
        with_pictures(found, pictures, skip=False)
    kept = with_pictures(found, pictures, skip=True)
    assert [one.name for one in kept.images] == ["sheet_01.png"]
    assert kept.skipped["labelled pictures that are not there"] == kept.skipped["pictures that cannot be used"] == 1
    with pytest.raises(UserError, match="no picture is left"):
        with_pictures(labels_of(image("shet_01.png", "pit")), pictures, skip=True)


def test_labels_drawn_before_the_exif_rotation_are_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((WIDTH, HEIGHT), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    turned = LabelledImage("a.jpg", HEIGHT, WIDTH, [], file=str(tmp_path / "a.jpg"))
    stored = LabelledImage("a.jpg", WIDTH, HEIGHT, [], file=str(tmp_path / "a.jpg"))
    for own in (turned, stored):
        assert with_pictures(labels_of(own), Pictures(str(tmp_path)), skip=False).images == [own]


def test_pictures_without_labels_are_left_out_or_clean(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "sub/b.png", "c.png")):
        picture(tmp_path / name, number)
    found, pictures = labels_of(image("a.png", "pit", folder=tmp_path)), Pictures(str(tmp_path))
    found.skipped["pictures without a label file (an empty one means: nothing on it)"] = 2
    (tmp_path / "._a.png").write_bytes(b"")
    left = with_unlabelled(found, pictures, keep=False, everywhere=True)
    assert "1 file of the system passed over: ._*" in left.notes
    (tmp_path / "._a.png").unlink()
    assert left.skipped == Counter({"pictures without labels": 2})
    assert "c.png, sub/b.png. If they show no object, take them as clean ones: --unlabelled keep" in left.notes[-1]
    beside = with_unlabelled(found, pictures, keep=True, everywhere=False)
    assert [one.name for one in beside.images] == ["a.png", "c.png"]
    # A picture that has lost its objects is not a clean one.
    found.lost.append(str(tmp_path / "c.png"))
    assert with_unlabelled(found, pictures, keep=True, everywhere=False).images == found.images
    found.lost.clear()
    kept, root = named_by_file(with_unlabelled(found, pictures, keep=True, everywhere=True), str(tmp_path))
    assert [(one.name, len(one.objects)) for one in kept.images] == [("a.png", 1), ("c.png", 0), ("sub/b.png", 0)]
    assert root == str(tmp_path)


def test_names_become_paths_and_a_file_has_one_entry(tmp_path: Path) -> None:
    for number, name in enumerate(("x/a.png", "y/a.png")):
        picture(tmp_path / name, number)
    first = LabelledImage("https://host/a.png", HEIGHT, WIDTH, [], file=str(tmp_path / "x" / "a.png"))
    second = LabelledImage("a.png", HEIGHT, WIDTH, [], file=str(tmp_path / "y" / "a.png"))
    found, root = named_by_file(labels_of(second, first), None)
    assert [one.name for one in found.images] == ["x/a.png", "y/a.png"]
    assert root == str(tmp_path)
    with pytest.raises(UserError, match="is the picture of two entries of the labels"):
        named_by_file(labels_of(first, LabelledImage("b", HEIGHT, WIDTH, [], file=first.file)), None)


def test_classes_are_renamed_joined_and_doubted() -> None:
    found = labels_of(image("a.png", "Pit", "pit", "dent"), classes=("Pit", "pit", "dent"))
    assert like_classes(["Pit", "pit", "hot-spot", "Hot spot", "dent"]) == [["Pit", "pit"], ["hot-spot", "Hot spot"]]
    joined = with_classes_renamed(found, {"Pit": "pit"})
    assert joined.class_names == ["pit", "dent"]
    assert [one.class_name for one in joined.images[0].objects] == ["pit", "pit", "dent"]
    assert [one.class_name for one in found.images[0].objects] == ["Pit", "pit", "dent"]
    with pytest.raises(UserError, match=r"--rename dentt: the labels have no such class\. Did you mean 'dent'"):
        with_classes_renamed(found, {"dentt": "x"})


def test_classes_and_groups_are_dealt_out_evenly(tmp_path: Path) -> None:
    images = []
    for number in range(20):
        name = f"{number:02}.png"
        picture(tmp_path / name, number)
        classes = ["pit"] if number % 4 else ["pit", "scratch"]
        images.append(image(name, *classes, folder=tmp_path, group=f"shot {number // 2}" if number < 8 else None))
    shutil.copy(tmp_path / "10.png", tmp_path / "copy.png")
    images.append(image("copy.png", "pit", folder=tmp_path))
    sides = dict(zip([one.name for one in images], deal(images, ["pit", "scratch"], 0.2, duplicates=True)))
    assert Counter(sides.values()) == {"train": 17, "val": 4}
    assert sides["10.png"] == sides["copy.png"]
    assert all(sides[f"{2 * pair:02}.png"] == sides[f"{2 * pair + 1:02}.png"] for pair in range(4))
    with_scratch = [sides[f"{number:02}.png"] for number in range(0, 20, 4)]
    assert Counter(with_scratch)["val"] == 1
    assert deal(images, ["pit", "scratch"], 3, duplicates=False).count("val") == 3
    assert set(deal(images, ["pit", "scratch"], 0, duplicates=False)) == {"train"}


@given(st.integers(4, 24), st.integers(2, 5), st.integers(0, 3), st.floats(0.05, 0.6), st.integers(0, 99))
@settings(max_examples=60)
def test_validation_and_training_show_objects_where_two_pictures_do(
    number: int, filled: int, scratches: int, val: float, seed: int
) -> None:
    filled = min(filled, number)
    classes = [["pit", "scratch"] if i < scratches else ["pit"] if i < filled else [] for i in range(number)]
    images = [image(f"{(7 * i) % 101:03}.png", *own) for i, own in enumerate(classes)]
    sides = deal(images, ["pit", "scratch"], val, duplicates=False, seed=seed)
    assert {side for side, own in zip(sides, images) if own.objects} == {"train", "val"}
    assert sides.count("val") == max(1, round(val * number))


@pytest.mark.parametrize("seed", range(8))
def test_a_class_of_three_pictures_has_one_held_out(seed: int) -> None:
    """Sixteen sheets, three to hold out: what is rare is not on one side, wherever the pictures lie."""
    classes = [["scratch"] if i in (2, 5) else ["scratch", "pit"] if i == 9 else ["pit"] if i % 3 else [] for i in range(16)]
    outcomes = []
    for folder in ("", "sheets/", "a/b/"):
        images = [image(f"{folder}sheet_{i:03}.png", *own) for i, own in enumerate(classes)]
        sides = deal(images, ["pit", "scratch"], 0.2, duplicates=False, seed=seed)
        found = Counter(side for side, own in zip(sides, classes) if "scratch" in own)
        assert found == {"train": 2, "val": 1}
        outcomes.append(sides)
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_copies_stay_together_where_a_class_is_brought_to_the_other_side() -> None:
    present = indicator([[0], [0], [0], [1], [1], [], []], 2)
    groups = np.array([0, 0, 1, 2, 3, 4, 4])
    out = with_each_class(np.array([False] * 5 + [True] * 2), present, groups)
    assert out.tolist() == [True, True, False, False, False, False, False]


def test_objects_of_one_picture_are_learnt_and_measured_there(caplog: pytest.LogCaptureFixture) -> None:
    images = [image(f"{i}.png", *(["pit"] if i == 3 else [])) for i in range(8)]
    assert deal(images, ["pit"], 0.2, duplicates=False) == ["train"] * 8
    assert "Objects are on one picture alone, or copies of it: nothing can be held out, evaluation is on what is" in caplog.text


def test_an_export_whose_validation_shows_nothing_is_dealt_out_anew(caplog: pytest.LogCaptureFixture) -> None:
    subsets = ["train"] * 4 + ["val"] * 2 + ["test"]
    images = [image(f"{i}.png", *(["pit"] if i < 4 else []), subset=subset) for i, subset in enumerate(subsets)]
    sides = deal(images, ["pit"], 0.34, duplicates=False)
    assert sides[6] == "test"
    assert {"train", "val"} == {side for side, own in zip(sides, images) if own.objects}
    assert "The export's pictures for val show no object" in caplog.text


def test_the_sides_of_the_export_are_kept_and_leaks_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ppdet_ext")
    subsets = ["Train", "train2017", "valid", "test", None]
    images = [image(f"{i}.png", "pit", folder=tmp_path, subset=subset) for i, subset in enumerate(subsets)]
    for number, own in enumerate(images):
        picture(Path(str(own.file)), 0 if number in (0, 2) else number)
    assert [side_of(one) for one in images] == ["train", "train", "val", "test", None]
    assert deal(images, ["pit"], 0.5, duplicates=True) == ["train", "train", "val", "test", "train"]
    assert "1 picture held out by the export also in training" in caplog.text
    assert "2.png = 0.png" in caplog.text
    # Without a validation of its own, one is dealt out; what is for testing stays apart.
    halves = [image(f"{i}.png", "pit", folder=tmp_path, subset=subset) for i, subset in enumerate(["train"] * 4 + ["test"])]
    sides = deal(halves, ["pit"], 0.25, duplicates=False)
    assert Counter(sides) == {"train": 3, "val": 1, "test": 1}
    assert sides[4] == "test"
    assert "test" not in deal(halves, ["pit"], 0.25, duplicates=False, as_told=False)


def test_a_single_picture_is_learnt_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ppdet_ext")
    picture(tmp_path / "a.png", 0)
    assert deal([image("a.png", "pit", folder=tmp_path)], ["pit"], 0.2, duplicates=True) == ["train"]
    assert "evaluation is on what is learnt" in caplog.text


def test_the_table_counts_objects_crowds_and_what_was_left_out() -> None:
    images = [image("a.png", "pit", "pit", "scratch"), image("b.png", "pit"), image("c.png")]
    images[1].objects[0].crowd = True
    lines = table(images, ["pit", "scratch"], ["train", "val", "train"], Counter({"polylines": 3})).splitlines()
    assert [line.split() for line in lines] == [
        ["train", "val", "all"],
        ["images", "2", "1", "3"],
        ["images", "without", "objects", "1", "0", "1"],
        ["objects:", "pit", "2", "0", "2"],
        ["objects:", "scratch", "1", "0", "1"],
        ["crowds", "0", "1", "1"],
        ["left", "out:", "polylines", "3"],
    ]
    names = ["pit", *(f"never {number}" for number in range(4)), "scratch"]
    folded = table(images, names, ["train", "val", "train"], Counter()).splitlines()
    assert [line.split() for line in folded[3:]] == [
        ["objects:", "pit", "2", "0", "2"],
        ["objects:", "scratch", "1", "0", "1"],
        ["objects:", "4", "other", "classes", "0", "0", "0"],
        ["crowds", "0", "1", "1"],
    ]
    assert any("never 1" in line for line in table(images, names[:3], ["train", "val", "train"], Counter()).splitlines())
