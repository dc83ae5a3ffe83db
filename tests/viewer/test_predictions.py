"""Pictures dropped, predicted in turn, and watched for."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from viewer_cases import (
    HEIGHT,
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

from ppdet_ext.errors import UserError
from ppdet_ext.viewer.catalogue import Item
from ppdet_ext.viewer.predictions import content_of, detections_of
from ppdet_ext.viewer.session import Model
from ppdet_ext.viewer.watching import FolderWatch


def until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


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
