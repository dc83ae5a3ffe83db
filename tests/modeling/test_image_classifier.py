"""The classifier of whole images, on plain ResNets and with CBAM."""

import numpy as np
import paddle
import pytest
from smp_models import batch_of_random

from ppdet_ext.config.load import load_config
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.host.build import architecture_of, build_model
from ppdet_ext.inference.protocol import PresenceDetector
from ppdet_ext.modeling.backbones import build_encoder
from ppdet_ext.modeling.segmentation import ImageClassifier

CLASSES = 3


def classifier(name: str = "resnet18", attention: str | None = None, **settings) -> ImageClassifier:
    paddle.seed(0)
    own = {"attention": attention} if attention else {}
    return ImageClassifier(build_encoder(name, return_idx=[4], **own), CLASSES, **settings)


@pytest.mark.parametrize(("name", "attention"), [("resnet18", None), ("resnet34", "cbam"), ("efficientnet-b0", None)])
def test_it_learns_which_classes_are_there(name, attention):
    model = classifier(name, attention)
    batch = batch_of_random(2, classes=CLASSES)
    batch["gt_class"] = [np.array([0, 0, 2]), np.array([], np.int64)]
    logits = model.logits(batch["image"])
    targets = np.array([[1, 0, 1], [0, 0, 0]])
    wanted = np.logaddexp(0, logits.numpy()) - logits.numpy() * targets
    losses = model(batch)
    if name == "resnet18":  # of the others drop-connect and running statistics differ from call to call
        assert float(losses["loss"]) == pytest.approx(wanted.mean(), rel=1e-4)
    losses["loss"].backward()
    assert [k for k, p in model.named_parameters() if not p.stop_gradient and p.grad is None] == []


def test_some_steps_teach_it():
    model = classifier(dropout=0.1)
    batch = batch_of_random(4, classes=CLASSES)
    batch["gt_class"] = [np.array([i % CLASSES]) for i in range(4)]
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    losses = []
    for _ in range(8):
        loss = model(batch)["loss"]
        losses.append(float(loss))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert losses[-1] < 0.3 * losses[0]


def test_presence_candidates_and_detections_agree():
    model = classifier()
    model.eval()
    assert isinstance(model, PresenceDetector)
    batch = batch_of_random(2, classes=CLASSES)
    batch["origin_shape"] = np.array([[128, 130], [60, 70]])
    likely = model.presence(batch)
    for one, own, (height, width) in zip(model.candidates(batch, model.settings), likely, [(128, 130), (60, 70)]):
        assert sorted(one.labels.tolist()) == list(range(CLASSES)), "every class, likely or not"
        assert np.array_equal(one.scores, own[one.labels])
        assert one.boxes.tolist() == [[0, 0, width, height]] * CLASSES
        assert np.array_equal(one.presence, own)
    for found, own in zip(model(batch), likely):
        assert sorted(found.labels.tolist()) == np.flatnonzero(own > 0.5).tolist()
        assert found.masks is None


def test_positive_weight_and_smoothing():
    batch = batch_of_random(2, classes=CLASSES)
    batch["gt_class"] = [np.array([0, 1, 2])] * 2
    for settings, weight, smooth in (({"pos_weight": 3.0}, 3, 0), ({"smoothing": 0.1}, 1, 0.1)):
        model = classifier(**settings)
        model.encoder.eval()
        x = model.logits(batch["image"]).numpy()
        target = 1 - smooth
        wanted = weight * target * np.logaddexp(0, -x) + (1 - target) * np.logaddexp(0, x)
        assert float(model(batch)["loss"]) == pytest.approx(wanted.mean(), rel=1e-5)


def test_bad_input_is_named():
    batch = batch_of_random(2, classes=CLASSES)
    with pytest.raises(UserError, match=r"class 7, but num_classes is 3: classes are 0 … 2"):
        classifier()({**batch, "gt_class": [np.array([1]), np.array([7])]})
    with pytest.raises(UserError, match=r"no objects to learn from"):
        classifier()({key: value for key, value in batch.items() if key != "gt_class"})
    for settings, message in (
        ({"pooling": "mean"}, "pooling is 'mean'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"smoothing": 0.7}, "smoothing is 0.7"),
        ({"pos_weight": 0.0}, "pos_weight is 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier(**settings)


def test_divergence_is_our_error():
    model = classifier()
    poisoned = next(p for k, p in model.named_parameters() if k == "classification_head.3.bias")
    poisoned.set_value(np.full(poisoned.shape, np.nan, np.float32))
    model.eval()
    with pytest.raises(DivergenceError):
        model(batch_of_random(1))


def test_by_yaml(root):
    changes = [
        "architecture=ImageClassifier",
        "ImageClassifier={dropout: 0.2, score_threshold: 0.4}",
        "ResNetEncoder.attention=cbam",
    ]
    cfg = load_config(root / "configs/unet/unet_resnet18_steel_sample.yml", changes, training=False)
    model = build_model(cfg)
    assert [one.stride for one in model.encoder.out_shape] == [32]
    assert any("SpatialGate" in name for name in model.state_dict())
    assert model.num_classes == 4
    kind = architecture_of(cfg)
    assert not kind.has_masks(cfg)
    assert kind.settings_from(cfg).score_threshold == model.settings.score_threshold == 0.4
    said = cfg.replaced(**kind.settings_sections(score_threshold=0.3, nms_iou=0.4, max_detections=7))
    assert kind.settings_from(said).score_threshold == 0.3
