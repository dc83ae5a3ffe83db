"""What the library's functions make of arguments that are misspelt, of another type, or one thing in place of a list."""

import os
from pathlib import Path
from typing import Any

import pytest

from ppdet_ext import Prediction, export_labels, import_labels, infer, new_config, read_labels, submit, train, tune
from ppdet_ext.data.labels.label_set import LabelledImage, LabelledObject, LabelSet
from ppdet_ext.data.labels.writers import WriteOptions
from ppdet_ext.errors import UserError
from ppdet_ext.inference.outputs import ResultFiles
from ppdet_ext.structures import Detections
from tests.support.tiny_data import HEIGHT, WIDTH, block, write_jpeg

SIZE = (HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `cvat/annotations.xml` and the pictures that it names, in `sheets`."""
    folder = tmp_path_factory.mktemp("marked")
    (folder / "sheets").mkdir()
    images = []
    for number in range(5):
        write_jpeg(folder / "sheets" / f"{number}.jpg", *SIZE)
        mask = block(8, 30, 8, 40)
        images.append(LabelledImage(f"{number}.jpg", *SIZE, [LabelledObject("pit", mask)]))
    export_labels(LabelSet("cvat", ["pit"], images), "cvat", folder / "cvat")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_file_stands_for_a_list_of_one(marked: Path, here: Path) -> None:
    file = marked / "cvat" / "annotations.xml"
    assert [len(read_labels(given, marked / "sheets").images) for given in (file, str(file), [file], [str(file)])] == [5] * 4
    written = import_labels(str(file), out="mine", images=marked / "sheets", config="own.yml", val=1, duplicates=False)
    assert written == Path("own.yml")
    assert new_config(Path("mine/annotations/train.json"), images=marked / "sheets", config="new.yml") == Path("new.yml")


def test_exports_are_not_overwritten_unless_asked(marked: Path, here: Path) -> None:
    labels = read_labels(marked / "cvat", marked / "sheets")
    file = here / "ex" / "annotations.xml"
    export_labels(labels, "cvat", "ex")
    file.write_text("corrected")
    for options in (None, WriteOptions(model_version="mine")):
        with pytest.raises(UserError, match=r"annotations.xml is there already"):
            export_labels(labels, "cvat", "ex", options=options)
    assert file.read_text() == "corrected"
    export_labels(labels, "cvat", "ex", overwrite=True)
    assert file.read_text() != "corrected"


def test_labels_to_export_may_be_files(marked: Path, here: Path) -> None:
    for number, given in enumerate((marked / "cvat", [str(marked / "cvat" / "annotations.xml")])):
        assert export_labels(given, "coco", f"{number}", images=marked / "sheets").objects == 5
    with pytest.raises(UserError, match=r"paths is 7; expected a path or a name, or a list of them"):
        export_labels(7, "coco", "no")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"--min_score is '0.5'; scores are numbers"):
        export_labels(marked / "cvat", "coco", "no", min_score="0.5")  # type: ignore[arg-type]
    assert not os.path.exists("no")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"unlabelled": "keeps"}, "unlabelled: 'keeps' is not one of leave_out, keep. Did you mean 'keep'?"),
        ({"on_error": "skp"}, "on_error: 'skp' is not one of error, skip. Did you mean 'skip'?"),
        ({"place": "copyy"}, "place: 'copyy' is not one of stay, copy, link. Did you mean 'copy'?"),
        ({"val": "0.2"}, "val is '0.2'; give a number of pictures"),
        ({"val": 1.5}, "val is 1.5; give a number"),
        ({"val": True}, "val is True; give a number"),
        ({"model": "htcc"}, "Did you mean 'htc'?"),
    ],
)
def test_misspelt_words_are_not_the_default(here: Path, wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as error:
        import_labels(["none.xml"], out="mine", **wrong)
    assert text in str(error.value)


def test_other_functions_say_what_they_take(config: str, here: Path) -> None:
    with pytest.raises(UserError, match=r"criterion: 'f11' is not one of f1, accuracy. Did you mean 'f1'"):
        tune(config, criterion="f11")
    with pytest.raises(UserError, match=r"allow_change: 'seeds' is not one of .*Did you mean 'seed'"):
        train(config, allow_change="seeds")
    with pytest.raises(UserError, match=r"val is '0.2'; give a number of pictures, such as 30, a share between 0 and 1"):
        new_config("none.json", val="0.2")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"\['a.jpg'\] is no path"):
        infer(config, ["a.jpg"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"\['a.jpg'\] is no path"):
        submit(config, "out.csv", ["a.jpg"])  # type: ignore[arg-type]


def test_one_kind_of_results_is_no_list_of_letters(here: Path) -> None:
    assert ResultFiles(here, "csv", 0.5, None).kinds == ("csv",)
    assert ResultFiles(here, ["csv", "cvat", "csv"], 0.5, None).kinds == ("csv", "cvat")
    assert [ResultFiles(here, given, 0.5, None).kinds for given in (True, False, [])] == [("coco",), (), ("coco",)]
    with pytest.raises(UserError, match=r"no results are called 'cvs'. Did you mean 'csv'"):
        ResultFiles(here, "cvs", 0.5, None)


def test_a_scale_is_a_number() -> None:
    found = Prediction.of(Detections.empty(*SIZE), "a.jpg", ("pit",), (1,))
    with pytest.raises(UserError, match=r"mm_per_pixel is the side of a pixel in millimetres, .* not '0.1'"):
        found.to_dataframe(mm_per_pixel="0.1")  # type: ignore[arg-type]
