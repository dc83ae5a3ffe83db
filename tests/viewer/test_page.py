"""What the page is told of pictures, objects and verdicts."""

import base64
import time
from pathlib import Path

import numpy as np
import pytest
from viewer_cases import (
    CLASSES,
    BrightModel,
    Page,
    block,
    found,
    items,
    record,
    session,
)

from ppdet_ext.data.images.decode import read_image
from ppdet_ext.errors import UserError
from ppdet_ext.report.matching import verdicts
from ppdet_ext.viewer.catalogue import Item
from ppdet_ext.viewer.matching import match_picture
from ppdet_ext.viewer.session import Model


def numbers(text: str, kind: str) -> list:
    return np.frombuffer(base64.b64decode(text), kind).tolist()


def until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


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
