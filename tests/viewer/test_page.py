"""What the page is told, and what becomes of what it says."""

import base64
import csv
import io
import json
import threading
import time
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from viewer_cases import (
    CLASSES,
    HEIGHT,
    NAMES,
    WIDTH,
    BrightModel,
    Page,
    block,
    bright,
    found,
    items,
    record,
    session,
    write_sheet,
)

from ppdet_ext.data.images.decode import read_image
from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.errors import UserError
from ppdet_ext.report.matching import verdicts
from ppdet_ext.structures import Rle
from ppdet_ext.viewer.catalogue import Item
from ppdet_ext.viewer.decisions import Decisions
from ppdet_ext.viewer.matching import match_picture
from ppdet_ext.viewer.predictions import content_of, detections_of
from ppdet_ext.viewer.session import Model
from ppdet_ext.viewer.watching import FolderWatch


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(session(tmp_path))


def numbers(text: str, kind: str) -> list:
    return np.frombuffer(base64.b64decode(text), kind).tolist()


def until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


# --- what is shown


def test_the_columns_tell_right_wrong_and_missed_at_any_score(page: Page) -> None:
    told = page.get("/api/index").get_json()["pictures"]
    assert numbers(told["found"]["count"], "<u4") == [2, 2, 1, 0]
    assert numbers(told["found"]["hit"], "u1") == [1, 1, 1, 0, 0]
    assert numbers(told["found"]["score"], "<f4") == pytest.approx([0.9, 0.6, 0.8, 0.55, 0.4])
    assert numbers(told["truth"]["score"], "<f4") == pytest.approx([0.9, 0.6, 0.8, -1])
    assert told["part"] == ["fold 0", "fold 1", "fold 0", "fold 1"]
    assert told["annotated"] == told["predicted"] == [True] * 4


@pytest.mark.parametrize("score", [0.0, 0.3, 0.5, 0.7, 0.95])
def test_one_matching_gives_the_reports_verdicts_at_every_score(score: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        truth = record(0, Path("x"), "x", *(block(int(x)) for x in rng.integers(0, 90, 4)), crowd=False)
        truth.labels = rng.integers(0, 2, 4)
        truth.crowd = rng.random(4) < 0.2
        own = found(*((block(int(x)), int(rng.integers(2)), float(np.float32(rng.random()))) for x in rng.integers(0, 90, 7)))
        match, told = match_picture(truth, own), verdicts(truth, own, score)
        right = (match.hit == 1) & (own.scores >= score)
        wrong = (match.hit == 0) & (own.scores >= score)
        missed = ~truth.crowd & (match.found < score)
        assert (int(right.sum()), int(wrong.sum()), int(missed.sum())) == told.counts


def test_a_model_of_one_mask_a_class_is_compared_with_annotations_of_one_mask_a_class() -> None:
    truth = record(0, Path("x"), "x", block(10), block(60), block(90))
    truth.labels, truth.crowd = np.array([0, 0, 1]), np.array([False, False, True])
    joined = truth.joined_by_class()
    assert joined.masks == [block(10).union(block(60)), block(90)]
    assert joined.labels.tolist() == [0, 1]
    assert joined.crowd.tolist() == [False, True]
    assert match_picture(joined, found((block(10).union(block(60)), 0, 0.7))).hit.tolist() == [1]
    assert len(record(0, Path("x"), "x").joined_by_class().labels) == 0


def test_a_picture_with_all_its_objects(page: Page) -> None:
    own = page.objects(1)
    first, second = own["found"]
    assert first["path"] == "M11 10v16h20v-16z"
    assert (first["area"], first["length"], first["width"], first["hit"], first["truth"]) == (320, 20, 16, 1, 0)
    assert (second["hit"], second["label"]) == (0, 1)
    assert [one["score"] for one in own["truth"]] == pytest.approx([0.8, -1])
    assert len({one["key"] for one in [*own["found"], *own["truth"]]}) == 4


def test_pictures_small_and_whole(page: Page) -> None:
    item = page.session.catalogue.items[0]
    small, again = page.get("/thumb/0"), page.get("/thumb/0")
    assert small.mimetype == "image/jpeg"
    assert small.data == again.data
    assert len(list((page.session.folder / "thumbs").iterdir())) == 1
    assert page.get("/picture/0").data == Path(item.file).read_bytes()


def test_a_browser_keeps_pictures_of_this_server_alone(page: Page, tmp_path: Path) -> None:
    """The next server at this port has other pictures under these numbers."""
    token = page.get("/api/state").get_json()["token"]
    for address in ("/thumb/0", "/picture/0"):
        assert "immutable" in page.get(f"{address}?s={token}").headers["Cache-Control"]
        assert page.get(address).headers["Cache-Control"] == "no-store"
    assert Page(session(tmp_path / "other")).get("/api/state").get_json()["token"] != token


def test_classes_in_another_order_are_told_by_name(tmp_path: Path) -> None:
    own = items(tmp_path / "sheets")
    own[0].found = None
    turned = Model(BrightModel, "turned", "turned", CLASSES[::-1])
    page = Page(session(tmp_path, own, model=turned))
    page.post("/api/predict", {"numbers": [0]})
    until(lambda: own[0].found is not None)
    assert own[0].found.labels.tolist() == [1, 1]  # type: ignore[union-attr]
    page.session.stop()
    with pytest.raises(UserError, match=r"--model finds a, b, but the data set has pits"):
        session(tmp_path, own, model=Model(BrightModel, "x", "x", ("a", "b")))


def test_a_turned_picture_is_sent_as_its_annotations_count_it(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    own = Page(session(tmp_path, [Item("turned.jpg", str(tmp_path / "turned.jpg"), 100, 40, "x")]))
    answer = own.get("/picture/0")
    assert answer.mimetype == "image/png"
    (tmp_path / "sent.png").write_bytes(answer.data)
    sent = read_image(str(tmp_path / "sent.png"))
    assert np.array_equal(sent, read_image(str(tmp_path / "turned.jpg")))
    assert sent.shape == (100, 40, 3)
    (tmp_path / "small.jpg").write_bytes(own.get("/thumb/0").data)
    assert read_image(str(tmp_path / "small.jpg")).shape == (100, 40, 3)


def test_a_missing_file_is_said_in_one_sentence(page: Page) -> None:
    Path(page.session.catalogue.items[2].file).unlink()
    for address in ("/thumb/2", "/picture/2"):
        answer = page.get(address)
        assert answer.status_code == 400
        assert "cannot be read" in answer.get_json()["error"]


def test_an_empty_page(tmp_path: Path) -> None:
    own = Page(session(tmp_path, []))
    assert own.get("/").status_code == 200
    told = own.get("/api/index").get_json()
    assert told["pictures"]["number"] == []
    assert own.post("/api/export", {"format": "csv", "choice": "predictions", "score": 0.5}).status_code == 400


def test_changes_alone_are_told(page: Page) -> None:
    version = page.get("/api/index").get_json()["version"]
    assert page.get(f"/api/changes?since={version}").get_json()["pictures"]["number"] == []
    page.session.catalogue.add(items(page.session.folder / "more")[:1])
    told = page.get(f"/api/changes?since={version}").get_json()
    assert told["pictures"]["number"] == [4]
    assert told["pictures"]["name"] == ["a.jpg (2)"]
    assert told["version"] > version


# --- decisions


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


# --- export


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


# --- predictions


def test_a_dropped_picture_is_predicted_once(tmp_path: Path) -> None:
    model = BrightModel()
    own = Page(session(tmp_path, [], model=bright(model)))
    content = write_sheet(tmp_path / "new.png", 30, 80).read_bytes()
    number = own.post("/api/drop?name=new.png", data=content).get_json()["number"]
    until(lambda: own.session.catalogue.items[number].found is not None)
    told = own.objects(number)
    assert [one["score"] for one in told["found"]] == pytest.approx([0.75, 0.33])
    assert (told["found"][0]["hit"], told["truth"]) == (3, [])
    assert own.post("/api/drop?name=again.png", data=content).get_json()["number"] == number
    own.session.stop()
    # A new server knows the picture and what was found there, without the model.
    later = Page(session(tmp_path, [], model=bright(model)))
    assert [item.name for item in later.session.catalogue.items] == ["dropped/new.png"]
    later.post("/api/predict", {"all": True})
    until(lambda: later.session.catalogue.items[0].found is not None)
    assert model.seen == 1
    assert [one["path"] for one in later.objects(0)["found"]] == [one["path"] for one in told["found"]]
    later.session.stop()


def test_predictions_come_back_bit_for_bit() -> None:
    own = found((block(3), 1, 0.1), (block(50), 0, 1 / 3))
    own = own.__class__(own.height, own.width, own.boxes, own.scores.astype(np.float32), own.labels, own.masks)
    back = detections_of(json.loads(json.dumps(content_of(own))))
    assert back.scores.tobytes() == own.scores.tobytes()
    assert back.boxes.tobytes() == own.boxes.tobytes()
    assert back.masks == own.masks


def test_the_model_is_loaded_when_it_is_wanted_and_one_fault_stops_nobody(tmp_path: Path) -> None:
    loaded = []
    own = items(tmp_path / "sheets")
    for item in own:
        item.found = None
    Path(own[1].file).write_bytes(b"\xff\xd8\xff no picture")
    model = bright()
    model = model.__class__(lambda: loaded.append(1) or BrightModel(), "x", "x")  # type: ignore[func-returns-value,return-value]
    page = Page(session(tmp_path, own, model=model))
    assert loaded == []
    assert page.post("/api/predict", {"all": True}).get_json() == {"asked": 4}
    until(lambda: not page.session.worker.waiting)
    assert loaded == [1]
    assert [item.state for item in own] == ["", "failed", "", ""]
    assert "1.jpg" in page.objects(1)["error"]
    assert own[0].match is not None
    page.session.stop()


def test_the_newest_picture_of_a_folder_is_predicted_first(tmp_path: Path) -> None:
    order: list[str] = []

    class Slow(BrightModel):
        def predict(self, images, **options):
            order.append(Path(images).stem)
            gate.wait(10)
            return super().predict(images, **options)

    gate = threading.Event()
    page = Page(session(tmp_path, [], model=Model(Slow, "slow", "slow")))
    files = [
        write_sheet(tmp_path / f"{name}.png", 5 * number) for number, name in enumerate(("old", "older", "newer", "newest"))
    ]
    taken = [Item(file.name, str(file), HEIGHT, WIDTH, "watched") for file in files]
    page.session._take(taken[:2])
    until(lambda: len(order) == 1)
    page.session._take(taken[2:])
    gate.set()
    until(lambda: not page.session.worker.waiting)
    assert order[1:3] == ["newest", "newer"]
    page.session.stop()


def test_a_model_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    own = items(tmp_path / "sheets")
    own[0].found = None

    def make() -> BrightModel:
        raise UserError("Weights file x.pdparams does not exist.")

    model = bright()
    page = Page(session(tmp_path, own, model=model.__class__(make, "x", "x")))
    page.post("/api/predict", {"numbers": [0], "urgent": True})
    until(lambda: own[0].state == "failed")
    assert page.objects(0)["error"] == "Weights file x.pdparams does not exist."
    assert page.get("/api/changes?since=0").get_json()["predicts"] is False
    page.session.stop()


def test_new_pictures_of_a_folder_come_when_they_are_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "line"
    folder.mkdir()
    write_sheet(folder / "old.jpg", 20)
    taken: list[str] = []
    watch = FolderWatch(folder, lambda new: taken.extend(item.name for item in new))
    watch.look(settled=True)
    assert taken == ["old.jpg"]
    whole = write_sheet(tmp_path / "whole.jpg", 20).read_bytes()
    (folder / "new.jpg").write_bytes(whole[:300])
    (folder / "._new.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("x")
    assert watch.look() == []
    assert watch.look() == []
    (folder / "new.jpg").write_bytes(whole)
    watch.look()
    assert [item.name for item in watch.look()] == ["new.jpg"]
    assert watch.look() == []
    (folder / "bad.jpg").write_bytes(whole[:300])
    with caplog.at_level("WARNING", logger="ppdet_ext"):
        for _ in range(9):
            assert watch.look() == []
    assert sum("bad.jpg" in text for text in caplog.messages) == 1
    with pytest.raises(UserError, match="no such folder"):
        FolderWatch(tmp_path / "nowhere", print)


def test_twelve_thousand_pictures_are_told_in_a_moment(tmp_path: Path) -> None:
    file = write_sheet(tmp_path / "a.jpg", 10)
    own = [
        Item(f"{n}.jpg", str(file), HEIGHT, WIDTH, "eval", record(n, file, f"{n}.jpg", block(n % 90))) for n in range(12_000)
    ]
    page = Page(session(tmp_path, own))
    begin = time.monotonic()
    content = page.get("/api/index").data
    assert time.monotonic() - begin < 5
    assert len(content) < 1_500_000
