"""`Predictor`: what it takes and gives, and that it finds what tools/infer.py finds."""

import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import pandas
import pytest
from PIL import Image

from ppdet_ext import Prediction, Predictor, TrainingRun, infer, load_config
from ppdet_ext.data.images.decode import read_image
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.host.registry import STEPS
from ppdet_ext.postprocess import Step
from ppdet_ext.postprocess.base import ImageContext

VIEWS = {
    "TestTimeAugmentation": {"flips": ["none", "horizontal"]},
    "PostProcess": [{"BoxNMS": {"iou": 0.5}}, {"MinArea": {"area": {"default": 20, "defect_1": 5}}}, {"TopK": {"k": 7}}],
}


@pytest.fixture(scope="module")
def predictor(run_folder: Path) -> Predictor:
    return Predictor(run_folder, device="cpu")


def same(one: Prediction, other: Prediction) -> bool:
    pairs = ((one.boxes, other.boxes), (one.scores, other.scores), (one.labels, other.labels))
    return all(np.array_equal(*pair) for pair in pairs) and one.masks == other.masks


@pytest.mark.parametrize("overrides", [{}, VIEWS], ids=["plain", "views and steps"])
def test_it_finds_what_the_tool_finds(run_folder: Path, sheets: list[str], tmp_path: Path, overrides: dict) -> None:
    folder = Path(sheets[0]).parent
    infer(
        run_folder,
        folder,
        None,
        overrides,
        output_dir=tmp_path,
        draw_threshold=0,
        save_results=["coco", "csv"],
        mm_per_pixel=0.5,
    )
    names = {one["id"]: one["file_name"] for one in json.loads((tmp_path / "images.json").read_text())}
    boxes, masks = (json.loads((tmp_path / name).read_text()) for name in ("bbox.json", "mask.json"))
    predictor = Predictor(run_folder, device="cpu", overrides=overrides)
    found = {one.name: one for one in predictor.predict(folder)}
    assert list(found) == list(names.values())
    own = [result for im_id, name in names.items() for result in found[name].to_coco(im_id)]
    assert len(own) > 20
    assert [{key: one[key] for key in box} for one, box in zip(own, boxes, strict=True)] == boxes
    assert [{key: one[key] for key in mask} for one, mask in zip(own, masks, strict=True)] == masks
    table = pandas.concat([found[name].to_dataframe(mm_per_pixel=0.5) for name in names.values()], ignore_index=True)
    written = pandas.read_csv(tmp_path / "measurements.csv")
    assert list(table.columns) == list(written.columns)
    assert (table[["image", "object", "class", "area_px"]] == written[["image", "object", "class", "area_px"]]).all(axis=None)
    np.testing.assert_allclose(table["length_mm"], written["length_mm"], rtol=1e-5)


def test_what_goes_in_decides_what_comes_out(predictor: Predictor, sheets: list[str]) -> None:
    pixels = read_image(sheets[0])
    one = predictor.predict(sheets[0])
    assert isinstance(one, Prediction)
    assert (one.name, one.height, one.width) == ("sheet_00000.jpg", 64, 128)
    assert same(predictor.predict(pixels), one)
    assert same(predictor.predict(Path(sheets[0])), one)
    assert same(predictor.predict(Image.fromarray(pixels)), one)
    several = predictor.predict([pixels, sheets[1]])
    assert isinstance(several, list)
    assert [found.name for found in several] == ["", "sheet_00001.jpg"]
    assert same(predictor.predict(np.stack([pixels, read_image(sheets[1])]))[1], several[1])
    assert predictor.predict([]) == []
    lazy = predictor.predict(iter(sheets[:3]))
    assert isinstance(lazy, Iterator)
    assert [found.name for found in lazy] == [Path(name).name for name in sheets[:3]]


def test_channels_come_in_the_order_that_is_stated(predictor: Predictor) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 128, 3)).astype(np.uint8)
    found = predictor.predict(pixels)
    assert same(predictor.predict(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), channels="bgr"), found)
    assert not same(predictor.predict(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)), found)


def test_grey_is_repeated(predictor: Predictor) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (64, 128)).astype(np.uint8)
    colour = predictor.predict(np.repeat(grey[:, :, None], 3, 2))
    assert same(predictor.predict(grey), colour)
    assert same(predictor.predict(grey[:, :, None]), colour)


def test_an_endless_source_is_taken_a_batch_at_a_time(run_folder: Path, sheets: list[str]) -> None:
    taken = []

    def camera() -> Iterator[np.ndarray]:
        for number in itertools.count():
            taken.append(number)
            yield np.roll(read_image(sheets[0]), number, axis=1)

    stream = Predictor(run_folder, device="cpu", batch_size=3).predict(camera())
    assert taken == []
    first = next(stream)
    assert taken == [0, 1, 2]
    # Products of other sizes round differently.
    alone = Predictor(run_folder, device="cpu", batch_size=1).predict(sheets[0])
    np.testing.assert_allclose(first.scores, alone.scores, rtol=1e-4)
    list(itertools.islice(stream, 4))
    assert len(taken) == 6


def test_sizes_may_differ(predictor: Predictor, sheets: list[str]) -> None:
    small = read_image(sheets[0])[:33, :70]
    found = predictor.predict([sheets[0], small])
    assert [(one.height, one.width) for one in found] == [(64, 128), (33, 70)]
    assert all(mask.size == (33, 70) for mask in found[1].masks)


def test_deep_pixels_become_eight_bits_as_the_reader_says(run_folder: Path, predictor: Predictor) -> None:
    transforms = [{"ReadImage": {"range": "12bit"}}, {"NormalizeToCHW": {}}]
    deep = Predictor(run_folder, device="cpu", overrides={"TestReader.sample_transforms": transforms})
    grey = np.random.default_rng(0).integers(0, 256, (64, 128)).astype(np.uint8)
    wide = (grey.astype(np.float64) * 4095 / 255).round().astype(np.uint16)
    assert same(deep.predict(wide), predictor.predict(grey))
    assert same(deep.predict(grey), predictor.predict(grey))
    assert same(deep.predict(Image.fromarray(wide)), predictor.predict(grey))
    found = deep.predict(wide)
    assert np.array_equal(found.draw(wide, range="12bit"), found.draw(grey))


@pytest.mark.parametrize(("image", "said"), [
    (np.zeros((4, 4, 3), np.float32), "pixels are float32; expected uint8"),
    (np.zeros((4, 4, 3), np.uint16), "pixels are uint16; expected uint8"),
    (Image.fromarray(np.full((4, 4), 300, np.uint16)), "pixels are uint16; expected uint8"),
    (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\).*Leave the alpha channel out"),
    (np.zeros((3, 40, 40), np.uint8), r"Put the channels last"),
    (np.zeros((0, 40, 3), np.uint8), r"shape is \(0, 40, 3\)"),
    (7, "int is no image: give pixels"),
    (b"\xff\xd8", "bytes is no image"),
    ([7], "int is no image"),
    ("no_such.jpg", "no_such.jpg: no such picture"),
])  # fmt: skip
def test_what_is_no_image_is_told(predictor: Predictor, image: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        predictor.predict(image)


def test_a_folder_without_pictures_is_told_at_once(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no picture there"):
        predictor.predict(tmp_path)
    with pytest.raises(UserError, match=r"channels: 'rbg' is not one of rgb, bgr. Did you mean 'rgb'"):
        predictor.predict(np.zeros((4, 4, 3), np.uint8), channels="rbg")


def test_threads_share_one(predictor: Predictor, sheets: list[str]) -> None:
    expected = [predictor.predict(name) for name in sheets[:4]]
    found: dict[int, Prediction] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: predictor.predict(sheets[n])})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[number], one) for number, one in enumerate(expected))


def test_threads_build_and_predict_at_once(run_folder: Path, sheets: list[str], predictor: Predictor) -> None:
    """Each fills ppdet's workspace, of which there is one, with another configuration."""
    tops = [3, 5, 7, 9]
    found: dict[int, int] = {}

    def build(most: int) -> None:
        found[most] = len(Predictor(run_folder, device="cpu", overrides={"HTCRoIHead.max_detections": most}).predict(sheets[0]))

    threads = [threading.Thread(target=build, args=(most,)) for most in tops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict(zip(tops, tops))


def test_other_steps_need_no_new_prediction(predictor: Predictor, run_folder: Path, sheets: list[str], tmp_path: Path) -> None:
    candidates = predictor.candidates(sheets[0])
    assert same(predictor.postprocess(candidates), predictor.predict(sheets[0]))
    steps = VIEWS["PostProcess"]
    found = predictor.postprocess(candidates, steps, name="a.jpg")
    assert found.name == "a.jpg"
    assert 0 < len(found) < len(candidates)
    assert same(found, Predictor(run_folder, device="cpu", postprocess=steps).predict(sheets[0]))
    (tmp_path / "tuned.yml").write_text(f"PostProcess: {json.dumps(steps)}")
    assert same(predictor.postprocess(candidates, tmp_path / "tuned.yml"), found)
    assert same(Predictor(run_folder, device="cpu", postprocess=tmp_path / "tuned.yml").predict(sheets[0]), found)
    with pytest.raises(UserError, match=r"step 'TopL' is not registered. Did you mean 'TopK'"):
        predictor.postprocess(candidates, [{"TopL": {"k": 1}}])
    with pytest.raises(UserError, match="there is no such file; tune writes one"):
        predictor.postprocess(candidates, "no.yml")


class KeepBright(Step):
    """Keeps objects whose box is brighter than the picture."""

    needs_image = True

    def apply(self, detections: Any, image: ImageContext) -> Any:
        grey = image.picture.mean(axis=2)
        corners = detections.boxes.round().astype(int)
        bright = [grey[y1 : y2 + 1, x1 : x2 + 1].mean() > grey.mean() for x1, y1, x2, y2 in corners.tolist()]
        return detections.select(np.array(bright, bool))


@pytest.mark.parametrize("overrides", [{}, {"TestTimeAugmentation": {"flips": ["none"]}}], ids=["a batch", "views"])
def test_steps_see_the_picture(run_folder: Path, sheets: list[str], monkeypatch: pytest.MonkeyPatch, overrides: dict) -> None:
    monkeypatch.setitem(STEPS, "KeepBright", KeepBright)
    own = Predictor(run_folder, device="cpu", overrides=overrides, postprocess=[{"KeepBright": {}}])
    everything = Predictor(run_folder, device="cpu", overrides=overrides)
    found = own.predict(sheets[0])
    assert 0 < len(found) < len(everything.predict(sheets[0]))
    pixels = read_image(sheets[0])
    assert same(own.predict(pixels), found)
    candidates = everything.candidates(pixels)
    for image in (pixels, sheets[0], Path(sheets[0])):
        assert same(everything.postprocess(candidates, [{"KeepBright": {}}], image=image), found)
    with pytest.raises(UserError, match=r"the picture of a\.jpg is not at hand"):
        everything.postprocess(candidates, [{"KeepBright": {}}], name="a.jpg")


def test_numbers_that_are_not_finite_name_the_images(run_folder: Path, sheets: list[str], tmp_path: Path) -> None:
    values = paddle.load(str(run_folder / "best_model.pdparams"))
    name = next(name for name in values if name.endswith("box_heads.0.classify.bias"))
    values[name] = values[name] * float("nan")
    paddle.save(values, str(tmp_path / "broken.pdparams"))
    broken = Predictor(run_folder, weights=tmp_path / "broken", device="cpu")
    with pytest.raises(DivergenceError, match=r"\(images: sheet_00000\.jpg, number 2\)"):
        broken.predict([sheets[0], read_image(sheets[1])])


def test_several_weights_are_an_ensemble(run_folder: Path, sheets: list[str], predictor: Predictor) -> None:
    weights = run_folder / "best_model.pdparams"
    twice = Predictor(run_folder, weights=[weights, weights], device="cpu")
    assert same(twice.predict(sheets[0]), predictor.predict(sheets[0]))
    assert [len(one) for one in twice.predict(sheets[:2])] == [len(one) for one in predictor.predict(sheets[:2])]


def test_what_it_is_made_of_is_checked(config: str, run_folder: Path, tmp_path: Path) -> None:
    cases = [
        ({"config": tmp_path}, "is no folder of a run: it has no config.yml"),
        ({"config": config}, "No weights are configured: Predictor"),
        ({"config": config, "weights": tmp_path / "no"}, r"Weights file .*no\.pdparams does not exist"),
        ({"config": run_folder, "device": "cuda"}, 'device is \'cuda\'; expected "auto", "cpu", "gpu"'),
        ({"config": run_folder, "device": "cpu:1"}, "device is 'cpu:1'"),
        ({"config": run_folder, "batch_size": 0}, "batch_size is 0; give 1 or more"),
        ({"config": run_folder, "overrides": {"epoc": 3}}, r"epoc.*Did you mean 'epoch'"),
        ({"config": run_folder, "overrides": {"epoch": {1, 2}}}, "overrides: epoch is {1, 2}; expected numbers"),
        ({"config": run_folder, "overrides": "epoch=3"}, "is one text; give a mapping"),
        ({"config": load_config(config), "overrides": {"epoch": 3}}, "A loaded configuration takes no overrides"),
        ({"config": "no.yml"}, r"Config file no\.yml does not exist"),
    ]
    for arguments, said in cases:
        with pytest.raises(UserError, match=said):
            Predictor(**arguments)


def test_a_run_predicts_without_its_data(trained: TrainingRun, sheets: list[str], tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "moved")
    nowhere = {f"{name}.dataset_dir": tmp_path / "none" for name in ("TrainDataset", "EvalDataset")}
    own = Predictor(tmp_path / "moved", device="cpu", overrides=nowhere)
    assert own.classes == ("defect_1", "defect_2", "defect_3", "defect_4")
    assert same(own.predict(sheets[0]), Predictor(trained.folder, device="cpu").predict(sheets[0]))


def test_classes_and_repr(predictor: Predictor, run_folder: Path) -> None:
    assert predictor.classes == ("defect_1", "defect_2", "defect_3", "defect_4")
    assert predictor.category_ids == (1, 2, 3, 4)
    assert repr(predictor).startswith(f"<Predictor HybridTaskCascade {run_folder}/best_model.pdparams: defect_1, defect_2")
