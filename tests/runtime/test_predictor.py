"""`Predictor` of exported models: what it finds, in which pixels, and what it refuses."""

import itertools
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from runtime_models import CATEGORY_IDS, CLASSES, PACKAGES, READER, expected, opened, write_folder

from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.runtime.predictor import Predictor
from ppdet_ext.structures import Candidates
from ppdet_ext.structures.probability_map import resize_maps

ENGINES = [pytest.param("onnx", id="onnx"), pytest.param("openvino", id="openvino")]
HEIGHT, WIDTH = 40, 90


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def resized(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (48, 32), interpolation=cv2.INTER_LINEAR)[None]


@pytest.mark.parametrize("engine", ENGINES)
def test_objects_in_pixels_of_the_picture(engine: str, tmp_path: Path, picture: np.ndarray) -> None:
    found = opened(write_folder(tmp_path), engine).predict(picture)
    told = expected("instances", resized(picture))
    boxes = told["boxes"] / np.array([48 / WIDTH, 32 / HEIGHT] * 2, np.float32)
    same = Candidates(HEIGHT, WIDTH, boxes, told["scores"], told["labels"], told["probs"]).detections()
    np.testing.assert_allclose(found.boxes, boxes, rtol=1e-6)
    np.testing.assert_allclose(found.scores, told["scores"], rtol=1e-5)
    assert found.masks == same.masks
    assert (found.class_names, found.category_ids) == (["pit", "scratch", "pit"], tuple(CATEGORY_IDS))


@pytest.mark.parametrize("engine", ENGINES)
def test_maps_of_the_whole_picture_and_what_is_in_it(engine: str, tmp_path: Path, picture: np.ndarray) -> None:
    steps = [{"ClassifierGate": {"threshold": {"pit": 0.1, "scratch": 0.99}}}, {"Components": {"min_area": 30}}]
    predictor = opened(write_folder(tmp_path, "maps", postprocess=steps), engine)
    told = expected("maps", resized(picture))
    same = Candidates.of_class_maps(resize_maps(told["maps"][0], HEIGHT, WIDTH), told["presence"][0])
    (candidates,) = predictor.candidates([picture])
    np.testing.assert_allclose(candidates.presence, same.presence, rtol=1e-5)
    assert sorted(candidates.labels.tolist()) == [0, 1]
    np.testing.assert_allclose(candidates.class_maps(2), same.class_maps(2), atol=1e-6)
    found = predictor.predict(picture)
    assert set(found.class_names) == {"pit"}
    assert found.masks == PostProcess(steps, CLASSES, CATEGORY_IDS)(same, "").masks
    everything = predictor.postprocess(candidates, [])
    assert sorted(everything.class_names) == CLASSES


def test_a_classifier_tells_of_each_class(tmp_path: Path, picture: np.ndarray) -> None:
    found = opened(write_folder(tmp_path, "presence")).predict(picture)
    told = expected("presence", resized(picture))["presence"][0]
    assert found.masks is None
    np.testing.assert_allclose(found.scores, np.sort(told)[::-1], rtol=1e-5)
    np.testing.assert_array_equal(found.boxes, [[0, 0, WIDTH, HEIGHT]] * 2)


def test_what_goes_in(tmp_path: Path, picture: np.ndarray) -> None:
    predictor = opened(write_folder(tmp_path / "model"))
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    for number in range(3):
        cv2.imwrite(str(sheets / f"{number}.png"), picture[:, :, ::-1] // (number + 1))
    whole = predictor.predict(picture)
    of_file = predictor.predict(sheets / "0.png")
    assert (of_file.name, of_file.scores.tolist(), of_file.masks) == ("0.png", whole.scores.tolist(), whole.masks)
    turned = predictor.predict(picture[:, :, ::-1], channels="bgr")
    assert turned.scores.tolist() == whole.scores.tolist()
    assert [one.name for one in predictor.predict(sheets)] == ["0.png", "1.png", "2.png"]
    assert [one.name for one in predictor.predict([sheets / "1.png", picture])] == ["1.png", ""]
    endless = predictor.predict(itertools.repeat(picture))
    assert next(endless).masks == next(endless).masks == whole.masks
    predictor.warm_up()
    predictor.warm_up(20, 30)


def test_batches_are_of_one_size_and_change_nothing(tmp_path: Path) -> None:
    reader = [READER[0], READER[2]]
    one = opened(write_folder(tmp_path / "one", "maps", transforms=reader))
    many = opened(write_folder(tmp_path / "many", "maps", batch=None, transforms=reader), batch_size=3)
    rng = np.random.default_rng(1)
    sizes = [(20, 30)] * 4 + [(30, 20), (20, 30)]
    pictures = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    sizes_of_batches: list[tuple[int, ...]] = []
    run = many._engine.run
    many._engine.run = lambda inputs: sizes_of_batches.append(inputs["pixels"].shape[:3]) or run(inputs)  # type: ignore[method-assign]
    for apart, together in zip(one.predict(pictures), many.predict(pictures)):
        assert apart.masks == together.masks
    assert sizes_of_batches == [(3, 20, 30), (1, 20, 30), (1, 30, 20), (1, 20, 30)]


@pytest.mark.parametrize("engine", ENGINES)
def test_streams_change_nothing_but_the_time(engine: str, tmp_path: Path, picture: np.ndarray) -> None:
    folder = write_folder(tmp_path)
    pytest.importorskip(PACKAGES[engine])
    one, two = (Predictor(folder, engine=engine, threads=2, streams=streams) for streams in (1, 2))
    pictures = [picture // (number + 1) for number in range(7)]
    for apart, together in zip(one.predict(pictures), two.predict(pictures), strict=True):
        assert (apart.scores.tolist(), apart.masks) == (together.scores.tolist(), together.masks)
    for before, after in zip(one.candidates(pictures), two.candidates(pictures), strict=True):
        np.testing.assert_array_equal(before.boxes, after.boxes)


def test_streams_take_images_ahead_and_raise_in_their_place(tmp_path: Path, picture: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    predictor = Predictor(write_folder(tmp_path), engine="onnx", threads=2, streams=2)
    taken: list[int] = []

    def images() -> Iterator[np.ndarray]:
        for number in itertools.count():
            taken.append(number)
            yield picture if number != 5 else picture[:, :, :2]

    found = predictor.predict(images())
    assert taken == []
    next(found)
    assert taken == [0, 1, 2], "two are predicted, and one waits"
    assert len([next(found) for _ in range(4)]) == 4
    with pytest.raises(UserError, match="shape"):
        next(found)
    assert len(taken) == 6
    with pytest.raises(UserError, match="streams is 0; give 1 or more"):
        Predictor(write_folder(tmp_path / "again"), streams=0)


def test_threads_share_one(tmp_path: Path, picture: np.ndarray) -> None:
    predictor = opened(write_folder(tmp_path))
    pictures = [picture // (number + 1) for number in range(4)]
    alone = [predictor.predict(one).scores.tolist() for one in pictures]
    found: dict[int, list[float]] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = predictor.predict(pictures[number]).scores.tolist()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(4)] == alone


def test_a_file_of_steps(tmp_path: Path, picture: np.ndarray) -> None:
    (tmp_path / "tuned.yml").write_text(yaml.safe_dump({"PostProcess": [{"TopK": {"k": 1}}]}))
    predictor = opened(write_folder(tmp_path / "model"), postprocess=tmp_path / "tuned.yml")
    assert len(predictor.predict(picture)) == 1
    with pytest.raises(UserError, match=r"other\.yml cannot be read"):
        predictor.postprocess(predictor.candidates(picture), tmp_path / "other.yml")
    with pytest.raises(UserError, match=r"step 'TopKk' is not registered\. Did you mean 'TopK'"):
        predictor.postprocess(predictor.candidates(picture), [{"TopKk": {"k": 1}}])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 9, 3), np.float32), "The image's pixels are float32; expected uint8"),
        (np.zeros((3, 8, 9), np.uint8), "Put the channels last"),
        ("nowhere.png", "nowhere.png"),
        (None, "NoneType is no image"),
    ],
)
def test_what_is_no_image(image: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        opened(write_folder(tmp_path)).predict(image)


def test_a_size_beyond_the_declared_range(tmp_path: Path) -> None:
    predictor = opened(write_folder(tmp_path, transforms=[READER[0], READER[2]]))
    with pytest.raises(UserError, match=r"image number 1: 20x65 px .* was exported for a width of 8 to 64 px\. Resize"):
        predictor.predict(np.zeros((20, 65, 3), np.uint8))


def test_numbers_that_are_none(tmp_path: Path, picture: np.ndarray) -> None:
    predictor = opened(write_folder(tmp_path))
    run = predictor._engine.run
    predictor._engine.run = lambda inputs: run(inputs) | {"scores": np.array([np.nan] * 3, np.float32)}  # type: ignore[method-assign]
    with pytest.raises(DivergenceError, match=r"scores of the exported model: NaN .*\(images: image number 1\)"):
        predictor.predict(picture)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onxn"}, r"engine is 'onxn'\. Did you mean 'onnx'\? There are auto, onnx, openvino"),
        ({"engine": "auto", "device": "tpu"}, "device is 'tpu'"),
        ({"engine": "auto", "device": "gpu:"}, 'device is .gpu:.; expected "auto", "cpu", "gpu" or "gpu:1"'),
        ({"engine": "auto", "device": "cpu:1"}, "device is 'cpu:1'"),
        ({"engine": "auto", "threads": 0}, "threads is 0"),
        ({"engine": "auto", "threads": "2"}, "threads is '2'; give 1 or more"),
        ({"engine": "auto", "streams": True}, "streams is True; give 1 or more"),
        ({"engine": "auto", "batch_size": 1.0}, r"batch_size is 1\.0; give 1 or more"),
        ({"engine": "auto", "batch_size": 2}, "batch_size is 2, but the model was exported for 1"),
        ({"engine": "auto", "batch_size": 0}, "batch_size is 0"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match=message):
        Predictor(write_folder(tmp_path), **options)


def test_what_a_camera_and_a_warm_up_take_is_looked_at_once(tmp_path: Path) -> None:
    predictor = opened(write_folder(tmp_path))
    with pytest.raises(UserError, match=r"on_frame takes a function of \(frame, found\), not NoneType"):
        predictor.on_frame(None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="channels: 'gbr' is not one of rgb, bgr"):
        predictor.on_frame(print, channels="gbr")
    for height in (0, -3, 4.5):
        with pytest.raises(UserError, match=f"height: {height} is no whole number of 1 or more"):
            predictor.warm_up(height, 40)  # type: ignore[arg-type]
    assert not predictor.has_steps


def test_pickled_it_is_opened_anew_from_any_folder(tmp_path: Path, picture: np.ndarray, monkeypatch) -> None:
    write_folder(tmp_path / "model")
    (tmp_path / "steps.yml").write_text(yaml.safe_dump({"PostProcess": [{"ScoreThreshold": {"score": 0.2}}]}))
    monkeypatch.chdir(tmp_path)
    predictor = opened(Path("model"), streams=2, postprocess="steps.yml")
    packed = pickle.dumps(predictor)
    monkeypatch.chdir("/")
    same = pickle.loads(packed)
    one, two = predictor.predict(picture), same.predict(picture)
    assert len(one) == len(two) > 0
    assert (one.masks, one.scores.tolist()) == (two.masks, two.scores.tolist())
    assert (same._streams, same._entries) == (2, predictor._entries)
    (tmp_path / "model").rename(tmp_path / "gone")
    with pytest.raises(UserError, match="model"):
        pickle.loads(packed)
