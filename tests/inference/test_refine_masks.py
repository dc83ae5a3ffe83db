"""RefineMasks: windows, what is mixed, which network has which class, bad input."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from PIL import Image
from postprocess_cases import IDS, NAMES, SIZE, columns, mapped, masked, step_of

import ppdet_ext.register  # noqa: F401
from ppdet_ext.config.load import load_config
from ppdet_ext.data.transforms import NormalizeToCHW
from ppdet_ext.errors import UserError
from ppdet_ext.host.build import build_model
from ppdet_ext.inference import refine_masks
from ppdet_ext.inference.build import Inference
from ppdet_ext.postprocess import ImageContext, PostProcess
from ppdet_ext.structures import Candidates, Record, Rle, TestSettings

MODELS = [{"config": "net.yml", "weights": "net"}]
CONFIG = "configs/unet/refine_fashion_sample.yml"


class Red:
    """A network that knows: the object's pixels are red. It has seen the windows listed in `seen`."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def class_maps(self, batch: Mapping) -> list[np.ndarray]:
        images = np.asarray(batch["image"])
        self.seen += [image.shape for image in images]
        assert np.asarray(batch["im_shape"]).tolist() == [list(image.shape[1:]) for image in images]
        return [np.repeat((image[:1] > 0.5).astype(np.float32), len(NAMES), axis=0) for image in images]


@pytest.fixture
def red(monkeypatch) -> Red:
    net = Red()
    built = refine_masks._Net(net, NormalizeToCHW([0, 0, 0], [1, 1, 1]))  # type: ignore[arg-type]
    monkeypatch.setattr(refine_masks, "_net", lambda *args: built)
    monkeypatch.setattr(refine_masks, "_state", lambda weights: ("", 0, 0))
    return net


def picture_of(masks: list[Rle]) -> ImageContext:
    """A black picture with the masks in red."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    for mask in masks:
        picture[..., 0] |= mask.to_bitmap() * np.uint8(255)
    return ImageContext("a.jpg", None, lambda: picture)


def objects(boxes: list[list[float]], labels: list[int]) -> Candidates:
    """Candidates whose masks fill their boxes."""
    n = len(boxes)
    scores, probs = np.linspace(0.9, 0.5, n, dtype=np.float32), np.ones((n, 5, 5), np.float32)
    return Candidates(*SIZE, np.array(boxes, np.float32).reshape(-1, 4), scores, np.array(labels, np.int64), probs)


def test_a_network_that_knows_draws_the_true_masks(red: Red) -> None:
    disc = np.hypot(*np.mgrid[-7:8, -7:8]) <= 6.5
    true = [Rle.from_bitmap(disc).place(2, 3, *SIZE), columns(25, 30)]
    found = objects([[2.5, 1.5, 18.5, 17.5], [24, 0, 31, 24]], [1, 0])
    step = step_of("RefineMasks", models=MODELS, size=48, blend=1.0, min_iou=0)
    made = step.apply(found, picture_of(true))
    assert all(float(Rle.iou_matrix([mine], [its])[0, 0]) > 0.9 for mine, its in zip(made.masks or [], true))
    assert made.boxes.tolist() == [list(mask.box) for mask in made.masks or []]
    assert made.scores.tolist() == found.scores.tolist()
    assert red.seen == [(3, 48, 48)] * 2


def test_the_mean_of_both_decides(red: Red) -> None:
    box = [8.0, 4.0, 16.0, 12.0]
    true = [Rle.full(8, 4).place(4, 8, *SIZE)]
    found = objects([box], [0])
    soft = Candidates(*SIZE, found.boxes, found.scores, found.labels, np.full((1, 8, 8), 0.7, np.float32))
    whole = Rle.full(8, 8).place(4, 8, *SIZE)
    # Where the network sees nothing (1 - blend) · 0.7 is left, and that plus blend where it sees red.
    for blend, threshold, expected in ((0.0, 0.69, whole), (0.5, 0.5, true[0]), (0.2, 0.5, whole), (0.9, 0.8, true[0])):
        step = step_of("RefineMasks", models=MODELS, context=0.0, size=8, blend=blend, threshold=threshold)
        assert step.apply(soft, picture_of(true)).masks == [expected]
    # Masks that are cut count as certain.
    step = step_of("RefineMasks", models=MODELS, context=0.0, size=8, blend=0.6, threshold=0.5)
    assert step.apply(masked([whole], [0], [0.9]), picture_of(true)).masks == [true[0]]
    # What has too little in common stays, and so does what would end empty.
    strict = step_of("RefineMasks", models=MODELS, context=0.0, size=8, blend=0.6, min_iou=0.51)
    assert strict.apply(masked([whole], [0], [0.9]), picture_of(true)).masks == [whole]
    assert step.apply(masked([whole], [0], [0.9]), picture_of([])).masks == [whole]


def test_classes_of_networks(red: Red) -> None:
    found = objects([[0, 0, 8, 8], [8, 8, 16, 16], [16, 8, 24, 16]], [0, 1, 2])
    step = step_of("RefineMasks", models=[{**MODELS[0], "classes": ["shoe", 12]}], size=8)
    assert len(step.apply(found, picture_of([]))) == 3
    assert len(red.seen) == 2
    with pytest.raises(UserError, match=r"there is no class 'sho'\. Did you mean 'shoe'"):
        step_of("RefineMasks", models=[{**MODELS[0], "classes": ["sho"]}])
    with pytest.raises(UserError, match="two networks have the class 'shoe'"):
        step_of("RefineMasks", models=[{**MODELS[0], "classes": ["shoe"]}, {**MODELS[0], "classes": [40]}])
    with pytest.raises(UserError, match="two networks have all classes"):
        step_of("RefineMasks", models=MODELS * 2)


def test_what_it_cannot_work_on(red: Red) -> None:
    step = step_of("RefineMasks", models=MODELS)
    with pytest.raises(UserError, match="put Components before"):
        step.apply(mapped(np.random.default_rng(0)), picture_of([]))
    with pytest.raises(UserError, match=r"the picture of a\.jpg is not at hand"):
        step(objects([[0, 0, 5, 5]], [0]), "a.jpg")
    small = ImageContext("a.jpg", None, lambda: np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(UserError, match="not as large as its predictions"):
        step.apply(objects([[0, 0, 5, 5]], [0]), small)
    assert not len(step.apply(objects([], []), picture_of([])))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"models": []}, "is no list of"),
        ({"models": [{"config": "a.yml"}]}, "is not of the form"),
        ({"models": [{**MODELS[0], "class": ["shoe"]}]}, "there is no key 'class'. Did you mean 'classes'?"),
        ({"models": [{**MODELS[0], "classes": "shoe"}]}, "'shoe' is no list of class names"),
        ({"models": MODELS, "blend": 2}, "RefineMasks.blend: 2 is no number from 0 to 1"),
        ({"models": MODELS, "size": 0}, "RefineMasks.size: 0 is no whole number"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict, words: str) -> None:
    with pytest.raises(UserError) as fault:
        step_of("RefineMasks", **arguments)
    assert words in str(fault.value)


def test_a_trained_network_is_built_from_its_configuration(tmp_path: Path) -> None:
    names, ids = [f"class {i}" for i in range(10)], list(range(10))
    cfg, path = load_config(CONFIG, training=False), tmp_path / "net.pdparams"
    paddle.save(build_model(cfg).state_dict(), str(path))
    step = refine_masks.RefineMasks([{"config": CONFIG, "weights": str(path)}], size=32)
    step.bind(names, ids)
    found = objects([[2, 2, 20, 20], [5, 3, 30, 23]], [1, 9])
    made = step.apply(found, picture_of([columns(3, 9)]))
    assert len(made) == 2
    again = refine_masks.RefineMasks([{"config": CONFIG, "weights": str(path)}], size=32)
    again.bind(names, ids)
    assert again._net_of[0] is step._net_of[0]
    assert again.apply(found, picture_of([columns(3, 9)])).masks == made.masks
    with pytest.raises(UserError, match="has 10 classes, the data set 3"):
        refine_masks.RefineMasks([{"config": CONFIG, "weights": str(path)}]).bind(NAMES, IDS)


def test_a_network_of_grey_pictures_sees_grey_ones(red: Red) -> None:
    """One mean and std: one channel, 0.299 of red, not the red one itself."""
    net = refine_masks._Net(red, NormalizeToCHW([0], [1]))  # type: ignore[arg-type]
    maps = net.maps([np.full((4, 4, 3), (255, 0, 0), np.uint8), np.full((4, 4, 3), 255, np.uint8)])
    assert red.seen == [(1, 4, 4)] * 2
    assert [one.max() for one in maps] == [0, 1]


class Finds:
    """A model that finds the same object in every image."""

    training = False
    settings = TestSettings()

    def candidates(self, batch: Mapping, settings: TestSettings) -> list[Candidates]:
        return [objects([[2, 2, 20, 20]], [0]) for _ in batch["names"]]


def test_pictures_come_from_the_data_set_or_from_the_loader_of_views(red: Red, tmp_path: Path) -> None:
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[5:15, 5:15, 0] = 255
    file = tmp_path / "a.png"
    Image.fromarray(picture).save(file)
    records = [Record(im_id, str(file), name, *SIZE) for im_id, name in ((4, "a.png"), (7, "b.png"))]
    steps = PostProcess([{"RefineMasks": {"models": MODELS, "size": 32, "blend": 1.0, "min_iou": 0}}], NAMES, IDS)
    inference = Inference(Finds(), steps)  # type: ignore[arg-type]
    batch = {"names": ["b.png", "a.png"], "im_id": np.array([7, 4])}
    with pytest.raises(UserError, match=r"the picture of b\.png is not at hand"):
        inference(batch)
    inference.check_names(SimpleNamespace(records=records))
    square = Rle.full(10, 10).place(5, 5, *SIZE)
    for found in (*inference(batch), *Inference(Finds(), steps)(batch_of_views(picture))):  # type: ignore[arg-type]
        assert float(Rle.iou_matrix(found.masks or [], [square])[0, 0]) > 0.8


def batch_of_views(picture: np.ndarray) -> dict:
    return {"names": ["c.png"], "im_id": np.array([1]), "samples": [SimpleNamespace(image=picture)]}
