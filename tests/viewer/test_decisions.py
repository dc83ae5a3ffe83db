"""What becomes of what the page says: decisions, and files exported of them."""

import csv
import io
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from viewer_cases import (
    CLASSES,
    NAMES,
    Page,
    block,
    session,
)

from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle
from ppdet_ext.viewer.decisions import Decisions


def decide(page: Page, number: int, place: int, **changes: str) -> dict:
    key = page.objects(number)["found"][place]["key"]
    answer = page.post("/api/decide", {"number": number, "key": key, **changes})
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


def test_decisions_outlive_the_server(page: Page, tmp_path: Path) -> None:
    assert decide(page, 0, 0, verdict="accepted")["decided"] == [1, 0, 0]
    decide(page, 0, 1, verdict="rejected", note="only a stain — öl 油")
    decide(page, 2, 0, **{"class": CLASSES[1]})
    again = Page(session(tmp_path))
    assert again.get("/api/index").get_json()["pictures"]["decided"] == [[1, 1, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert [one.get("note") for one in again.objects(0)["decisions"].values()] == [None, "only a stain — öl 油"]
    decide(again, 0, 0, verdict="")
    assert again.session.decisions.counts("a.jpg") == (0, 1, 1)


def test_wrong_decisions_change_nothing(page: Page) -> None:
    key = page.objects(0)["found"][0]["key"]
    for changes, text in (
        ({"verdict": "acepted"}, "Did you mean 'accepted'?"),
        ({"class": "pit"}, "Did you mean 'pits'?"),
        ({"note": "x" * 3000}, "2000 are the most"),
        ({"verdict": 3}, "expected a text"),
        ({"colour": "red"}, "There is no 'colour'"),
    ):
        answer = page.post("/api/decide", {"number": 0, "key": key, **changes})
        assert answer.status_code == 400
        assert text in answer.get_json()["error"]
    assert page.session.decisions.names() == []


def test_a_full_disk_keeps_the_decisions_there_were(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(page, 0, 0, verdict="accepted")
    before = page.session.decisions.file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ppdet_ext.files.atomic.os.replace", full)
    key = page.objects(1)["found"][0]["key"]
    answer = page.post("/api/decide", {"number": 1, "key": key, "verdict": "accepted"})
    assert answer.status_code == 400
    assert "No space left" in answer.get_json()["error"]
    assert page.session.decisions.file.read_bytes() == before
    assert page.session.decisions.counts(NAMES[1]) == (0, 0, 0)


def test_a_damaged_file_of_decisions_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "decisions.json").write_text('{"pictures": [')
    with pytest.raises(UserError, match="holds no decisions"):
        Decisions(tmp_path / "decisions.json", CLASSES)
    assert (tmp_path / "decisions.json").read_text() == '{"pictures": ['


def exported(page: Page, format: str, choice: str, score: float = 0.5):
    answer = page.post("/api/export", {"format": format, "choice": choice, "score": score})
    assert answer.status_code == 200, answer.get_json()
    return answer


def test_a_table_of_what_was_decided(tmp_path: Path) -> None:
    own = Page(session(tmp_path, mm_per_pixel=0.5))
    decide(own, 0, 0, verdict="accepted", note="=1+1")
    decide(own, 1, 1, verdict="rejected")
    decide(own, 2, 0, verdict="accepted", **{"class": CLASSES[1]})
    answer = exported(own, "csv", "accepted")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="accepted_csv.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [(row["image"], row["class"], row["score"], row["verdict"], row["note"]) for row in rows] == [
        ("a.jpg", "pits", "0.9000", "accepted", "'=1+1"),
        (NAMES[2], CLASSES[1], "0.4000", "accepted", ""),
    ]
    assert (rows[0]["area_px"], rows[0]["area_mm2"], rows[0]["length_mm"]) == ("320", "80", "10")


def test_predictions_of_a_score_without_those_rejected(page: Page) -> None:
    decide(page, 0, 1, verdict="rejected")
    decide(page, 2, 0, verdict="accepted")
    tree = json.loads(exported(page, "coco", "predictions", 0.55).data)
    by_name = {image["id"]: image["file_name"] for image in tree["images"]}
    objects = [(by_name[one["image_id"]], one["category_id"], one.get("score")) for one in tree["annotations"]]
    # What a person has accepted counts whatever its score, and has none any more.
    names = list(by_name.values())
    assert objects == [
        (names[0], 1, pytest.approx(0.9)),
        (names[1], 1, pytest.approx(0.8)),
        (names[1], 7, pytest.approx(0.55)),
        (names[2], 1, None),
    ]
    assert not any(".." in name or name.startswith("/") for name in names)


def test_labels_are_annotations_less_those_rejected_and_predictions_accepted(page: Page) -> None:
    own = page.objects(1)
    for one, verdict in ((own["truth"][1], "rejected"), (own["found"][1], "accepted")):
        assert page.post("/api/decide", {"number": 1, "key": one["key"], "verdict": verdict}).status_code == 200
    tree = json.loads(exported(page, "coco", "labels").data)
    masks = [Rle.from_coco(one["segmentation"]) for one in tree["annotations"] if one["image_id"] == 2]
    assert masks == [block(10), block(40)]
    assert len(tree["images"]) == 4
    assert {one.get("score") for one in tree["annotations"]} == {None}


def test_every_label_tool_reads_what_was_accepted(page: Page, tmp_path: Path) -> None:
    decide(page, 0, 0, verdict="accepted")
    decide(page, 0, 1, verdict="rejected")
    for format in ("coco", "cvat", "label_studio"):
        answer, folder = exported(page, format, "accepted"), tmp_path / format
        folder.mkdir()
        if answer.mimetype == "application/zip":
            zipfile.ZipFile(io.BytesIO(answer.data)).extractall(folder)
        else:
            (folder / answer.headers["Content-Disposition"].split('"')[1]).write_bytes(answer.data)
        labels = read_labels([str(folder)], None, format="auto")
        assert [
            (image.name.rpartition("=")[2], [(one.class_name, one.mask) for one in image.objects]) for image in labels.images
        ] == [("a.jpg", [("pits", block(10))])], format
    tree = ElementTree.fromstring(exported(page, "cvat", "accepted").data)
    assert tree.find(".//mask").get("label") == "pits"  # type: ignore[union-attr]


def test_unknown_formats_get_the_nearest(page: Page) -> None:
    answer = page.post("/api/export", {"format": "cvta", "choice": "labels"})
    assert "Did you mean 'cvat'?" in answer.get_json()["error"]
    assert "kaggle" not in page.get("/api/state").get_json()["formats"]
    assert page.post("/api/export", {"format": "csv", "choice": "labels", "score": float("nan")}).status_code == 400
