"""Files of results: the table as a spreadsheet opens it, and what may be asked for."""

import csv
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from ppdet_ext.commands.flags import RESULT_KINDS, infer_parser
from ppdet_ext.data.formats.result_files import write_measurements
from ppdet_ext.errors import UserError
from ppdet_ext.inference.outputs import KINDS, ResultFiles
from ppdet_ext.structures import Detections, Rle

FOUND = Detections.of_masks(4, 50, [Rle.full(4, 50), Rle.from_bitmap(np.eye(4, 50))], [1, 0], [0.9, 0.25])


def cells_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_table_has_a_row_for_each_object(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_measurements(path, [("a.jpg", FOUND), ("clean.jpg", Detections.empty(4, 50))], ["pit", "Rißß, lang"], 0.02)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfimage,object,class,score,x,y,w,h,area_px,area_mm2,centroid_x,centroid_y,"
                                        b"length_px,width_px,length_mm,width_mm,angle\r\na.jpg,1,")  # fmt: skip
    first, second = cells_of(path)
    assert first == {
        "image": "a.jpg", "object": "1", "class": "Rißß, lang", "score": "0.9000", "x": "0.00", "y": "0.00", "w": "50.00",
        "h": "4.00", "area_px": "200", "area_mm2": "0.08", "centroid_x": "25.00", "centroid_y": "2.00", "length_px": "50.00",
        "width_px": "4.00", "length_mm": "1", "width_mm": "0.08", "angle": "0.00",
    }  # fmt: skip
    assert (second["object"], second["length_px"], second["angle"]) == ("2", "5.66", "45.00")
    # Also without being told of the mark.
    assert pandas.read_csv(path)["image"].tolist() == ["a.jpg", "a.jpg"]


def test_without_masks_cells_are_blank_and_without_a_scale_there_are_no_millimetres(tmp_path: Path) -> None:
    boxes = Detections(4, 4, np.array([[1, 1, 3, 4]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    write_measurements(tmp_path / "t.csv", [("a.jpg", boxes)], ["pit"])
    (row,) = cells_of(tmp_path / "t.csv")
    assert (row["area_px"], row["angle"], "area_mm2" in row) == ("", "", False)


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0.jpg", "+1.png", "-a.png", "@sum.png"])
def test_names_are_no_formulas(name: str, tmp_path: Path) -> None:
    write_measurements(tmp_path / "t.csv", [(name, FOUND)], ["-pit", "scratch"])
    first, second = cells_of(tmp_path / "t.csv")
    assert (first["image"], first["class"], second["class"]) == (f"'{name}", "scratch", "'-pit")


def test_a_name_that_is_not_utf8_does_not_end_the_table(tmp_path: Path) -> None:
    write_measurements(tmp_path / "t.csv", [("a\udcff.jpg", FOUND)], ["pit", "scratch"])
    assert cells_of(tmp_path / "t.csv")[0]["image"] == "a\\udcff.jpg"


def test_numbers_are_written_so_that_spreadsheets_read_them(tmp_path: Path) -> None:
    large = Detections.of_masks(2000, 3000, [Rle.full(2000, 3000)], [0], [1.0])
    write_measurements(tmp_path / "t.csv", [("a.jpg", large)], ["pit"], 2.5)
    write_measurements(tmp_path / "u.csv", [("a.jpg", FOUND)], ["pit", "scratch"], 1e-4)
    assert [cells_of(tmp_path / "t.csv")[0][key] for key in ("area_px", "area_mm2")] == ["6000000", "37500000"]
    assert float(cells_of(tmp_path / "u.csv")[0]["area_mm2"]) == pytest.approx(200e-8)


def test_kinds_of_the_flag_are_those_that_are_written() -> None:
    assert RESULT_KINDS == KINDS
    parser = infer_parser()
    assert parser.parse_args(["--save_results", "csv", "masks", "--num_images", "2"]).save_results == ["csv", "masks"]
    given = [parser.parse_args(flags).save_results for flags in ([], ["--save_results"], ["--save_results", "-o", "a=1"])]
    assert [ResultFiles(Path(), kinds, 0.5, None).kinds for kinds in given] == [(), ("coco",), ("coco",)]
    assert ResultFiles(Path(), True, 0.5, None).kinds == ("coco",)


@pytest.mark.parametrize(("kinds", "scale", "message"), [
    (["cvs"], None, r"no results are called 'cvs'. Did you mean 'csv'\?"),
    (["csv"], 0.0, "--mm_per_pixel is the side of a pixel in millimetres"),
    (["masks"], 0.1, "--mm_per_pixel is of the table of measurements; ask for it: --save_results csv"),
])  # fmt: skip
def test_what_cannot_be_is_told(kinds: list[str], scale: float | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ResultFiles(Path(), kinds, 0.5, scale)


def test_a_mistyped_kind_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        infer_parser().parse_args(["--save_results", "label-studio"])
    assert "no results are called 'label-studio'. Did you mean 'label_studio'?" in capsys.readouterr().err


@pytest.mark.parametrize(("tool", "classes", "image", "message"), [
    ("masks", ["scratch: deep"], "a.jpg", "'scratch: deep' has a colon"),
    ("cvat", ["pit"], "a\x07.jpg", "cannot hold the character"),
    ("cvat", ["pit"], "a\udcff.jpg", "Rename the picture"),
    ("labelme", ["pit", "pit"], "a.jpg", "Two classes are called 'pit'"),
])  # fmt: skip
def test_names_without_a_place_are_told_before_predicting(tool, classes, image, message, tmp_path: Path) -> None:
    cfg = SimpleNamespace(architecture="HybridTaskCascade", get=lambda key: None)
    predictor = SimpleNamespace(names={1: image}, class_names=classes, cfg=cfg)
    with pytest.raises(UserError, match=message):
        ResultFiles(tmp_path, [tool], 0.5, None).check(predictor)
    ResultFiles(tmp_path, [tool], 0.5, None).check(SimpleNamespace(names={1: "ä b.jpg"}, class_names=["pit"], cfg=cfg))


def test_files_have_what_is_drawn_and_the_log_says_what_they_cannot_hold(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, "ppdet_ext")
    records = [SimpleNamespace(name=name, file=f"/x/{name}") for name in ("a.jpg", "clean.jpg")]
    predictor = SimpleNamespace(
        names={1: "a.jpg", 2: "clean.jpg"}, class_names=["pit", "scratch"], dataset=SimpleNamespace(records=records),
        cfg=SimpleNamespace(weights="w", get=lambda key: None),
    )  # fmt: skip
    (tmp_path / "mask.json").write_text("[]")
    files = ResultFiles(tmp_path, ["csv", "cvat", "masks"], 0.5, None)
    files.write([(1, FOUND), (2, Detections.empty(4, 50))], predictor, None)
    assert [row["score"] for row in cells_of(tmp_path / "measurements.csv")] == ["0.9000"]
    assert (tmp_path / "cvat" / "annotations.xml").read_text().count("<mask ") == 1
    assert (tmp_path / "masks" / "SegmentationObject" / "clean.png").is_file()
    assert "1 object of 2 images; 1 image with nothing, without a row" in caplog.text
    assert f"Not in it ({tmp_path}/cvat): 1 score" in caplog.text
    assert f"mask.json in {tmp_path}: of an earlier run" in caplog.text
