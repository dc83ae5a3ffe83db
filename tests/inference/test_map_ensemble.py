"""Views and members averaged as probability maps: one is the model alone, several are their mean, mirrored and resized back."""

import logging
import weakref

import numpy as np
import pytest
from map_cases import HeadedPixelModel, PixelModel, WholeImageModel, soft_picture
from view_cases import NATIVE, RESIZED, batch_of, fixed, model, picture, sample_with

from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.inference.feature_passes import Member
from ppdet_ext.inference.map_ensemble import MapEnsemble, PowerMean, PresenceEnsemble, SoleDetector
from ppdet_ext.inference.stored_member import OneModel, StoredMember
from ppdet_ext.inference.views import Views
from ppdet_ext.structures import Candidates


@pytest.fixture
def sample():
    return sample_with(soft_picture())


def found_by(ensemble, sample) -> Candidates:
    (found,) = ensemble.candidates({"sample": sample, "names": [sample.name], "im_id": [1]}, ensemble.settings)
    return found


def assert_same_maps(found: Candidates, expected: Candidates, atol: float = 0.0) -> None:
    assert (found.height, found.width) == (expected.height, expected.width)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=atol)
    for ours, theirs in zip(found.maps, expected.maps):
        np.testing.assert_allclose(ours.dense(), theirs.dense(), rtol=0, atol=atol)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.3])
@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("reader", [NATIVE, RESIZED])
def test_one_view_of_one_member_is_the_model(sample, reader, weight, power):
    pixels, views = PixelModel(gamma=1.7), Views(reader)
    (alone,) = pixels.candidates(batch_of(sample, views), pixels.settings)
    assert len(alone) == 3
    assert_same_maps(found_by(MapEnsemble([Member(pixels, views, weight)], power=power), sample), alone)
    assert_same_maps(found_by(SoleDetector([Member(pixels, views)], None), sample), alone)


@pytest.mark.parametrize("flip", ["horizontal", "vertical", "both"])
def test_mirrored_views_are_mirrored_back(sample, flip):
    """This model looks at single pixels, so that mirroring must change nothing at all."""
    views = Views(NATIVE, (), None, ["none", flip])
    once = found_by(MapEnsemble([Member(PixelModel(), Views(NATIVE))]), sample)
    assert_same_maps(found_by(MapEnsemble([Member(PixelModel(), views)]), sample), once, 1e-6)


@pytest.mark.parametrize("flip", ["horizontal", "vertical", "both"])
def test_resized_mirrored_views_lie_on_the_picture(sample, flip):
    resizes = [fixed(120, 180), fixed(45, 70)]
    several = MapEnsemble([Member(PixelModel(), Views(NATIVE, (), resizes, ["none", flip]))])
    once = found_by(MapEnsemble([Member(PixelModel(), Views(NATIVE))]), sample)
    found = found_by(several, sample)
    assert several.members[0].model.sizes == [(120, 180)] * 2 + [(45, 70)] * 2
    for ours, theirs in zip(found.class_maps(3), once.class_maps(3)):
        assert np.abs(ours - theirs).mean() < 0.02  # a shift by a pixel or a wrong flip is more


def test_members_are_averaged_by_weight(sample):
    views = Views(NATIVE)
    a, b = PixelModel(gain=1.0), PixelModel(gain=0.4)
    (one,), (two,) = (each.class_maps(batch_of(sample, views)) for each in (a, b))
    found = found_by(MapEnsemble([Member(a, views), Member(b, views, 3.0)]), sample)
    np.testing.assert_allclose(found.class_maps(3), (one + 3 * two) / 4, atol=1e-6)
    rms = found_by(MapEnsemble([Member(a, views), Member(b, views)], power=2.0), sample)
    np.testing.assert_allclose(rms.class_maps(3), np.sqrt((one**2 + two**2) / 2), atol=1e-6)


def test_a_detector_beside_pixels_gives_the_map_of_its_objects():
    htc, sample = model("tiny_a"), sample_with(picture(75, 110))
    pixels, views = PixelModel(htc.num_classes), Views([{"ReadImage": {}}, {"NormalizeToCHW": {}}])
    pixels.class_maps = lambda batch: [np.zeros((htc.num_classes, 75, 110), np.float32)]
    (objects,) = htc.candidates(batch_of(sample, views), htc.settings)
    expected = objects.class_maps(htc.num_classes)
    assert expected.max() > 0.2
    found = found_by(MapEnsemble([Member(pixels, views), Member(htc, views)]), sample)
    np.testing.assert_allclose(found.class_maps(htc.num_classes), expected / 2, atol=2e-3)  # below 1/255 is nothing
    # A mirrored view is the mirrored picture's.
    mirrored = sample_with(np.ascontiguousarray(sample.image[:, ::-1]))
    (objects,) = htc.candidates(batch_of(mirrored, views), htc.settings)
    flipped = Member(htc, Views([{"ReadImage": {}}, {"NormalizeToCHW": {}}], (), None, ["horizontal"]))
    found = found_by(MapEnsemble([Member(pixels, views), flipped]), sample)
    np.testing.assert_allclose(
        found.class_maps(htc.num_classes), objects.class_maps(htc.num_classes)[:, :, ::-1] / 2, atol=2e-3
    )


def test_presence_of_members_with_a_head_is_averaged(sample):
    views = Views(NATIVE)
    headed = HeadedPixelModel()
    _, told = headed.maps_and_presence(batch_of(sample, views))
    found = found_by(MapEnsemble([Member(PixelModel(), views), Member(headed, views)]), sample)
    np.testing.assert_allclose(found.presence, told[0], atol=1e-6)
    assert found_by(MapEnsemble([Member(PixelModel(), views)]), sample).presence is None


def test_classifiers_are_averaged(sample):
    probabilities, other = np.array([0.8, 0.2], np.float32), np.array([0.4, 1.0], np.float32)
    members = [
        Member(WholeImageModel(probabilities), Views(NATIVE, (), None, ["none", "horizontal"])),
        Member(WholeImageModel(other), Views(RESIZED), 2.0),
    ]
    one = PresenceEnsemble(members[:1])
    np.testing.assert_allclose(one.presence_in(sample), probabilities * 0.75, atol=1e-6)
    found = found_by(PresenceEnsemble(members), sample)
    expected = (probabilities * 1.5 + other * 2) / 4
    np.testing.assert_allclose(found.presence, expected, atol=1e-6)
    assert found.labels.tolist() == np.argsort(-expected).tolist()
    assert found.maps is None
    assert found.probs is None
    assert found.boxes.tolist() == [[0, 0, 90, 60]] * 2


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "at least one"),
        ([PixelModel(3), PixelModel(4)], "Ensemble member 2 (b) has 4 classes, those before it 3"),
        ([PixelModel(2), WholeImageModel([0.5, 0.5])], "name it under Classifier"),
    ],
)
def test_members_that_do_not_fit(members, said):
    views = Views(NATIVE)
    with pytest.raises(UserError) as caught:
        MapEnsemble([Member(one, views, 1.0, "ab"[i]) for i, one in enumerate(members)])
    assert said in str(caught.value)


def test_weights_powers_and_readers_that_do_not_fit():
    views, other = Views(NATIVE), Views([{"ReadImage": {"exif": False}}, {"NormalizeToCHW": {}}])
    for members, power, said in (
        ([Member(PixelModel(), views, -1.0)], 1.0, "weight -1"),
        ([Member(PixelModel(), views), Member(PixelModel(), other)], 1.0, r"ReadImage\.exif"),
        ([Member(PixelModel(), views)], 0.0, r"EnsembleMean\.power is 0"),
    ):
        with pytest.raises(UserError, match=said):
            MapEnsemble(members, power=power)
    with pytest.raises(UserError, match="Classifier member 1 is PixelModel"):
        PresenceEnsemble([Member(PixelModel(), views)])


def test_stored_members_give_the_same_and_one_model_lives_at_a_time(sample):
    held, alive, most = OneModel(), weakref.WeakSet(), []

    def maker(gain):
        def make():
            made = PixelModel(gain=gain)
            alive.add(made)
            most.append(len(alive))
            logging.getLogger("ppdet_ext").info("made with gain %s", gain)
            return made

        return make

    views, gains = Views(NATIVE, (), None, ["none", "horizontal"]), (1.0, 0.5, 0.25)
    whole = MapEnsemble([Member(PixelModel(gain=gain), views) for gain in gains], power=2.0)
    stored = MapEnsemble([StoredMember(held, maker(gain), views) for gain in gains], power=2.0)
    samples = [sample, sample_with(soft_picture(40, 30, 1))]
    batch = {"samples": samples, "names": ["a", "b"], "im_id": [1, 2]}
    settings = whole.settings
    for ours, theirs, one in zip(stored.candidates(batch, settings), whole.candidates(batch, settings), samples):
        assert_same_maps(ours, theirs)
        assert (ours.height, ours.width) == one.original_size
    assert max(most) == 1
    # Each is made once to be checked, once for the settings, and once for a batch, whatever the number of its pictures.
    assert len(most) == 3 + 1 + 2


def test_what_is_logged_of_a_stored_member_is_logged_once(caplog):
    held, log = OneModel(), logging.getLogger("ppdet_ext")
    members = [StoredMember(held, lambda: log.warning("made") or PixelModel(), Views(NATIVE)) for _ in range(2)]
    for member in members * 2:
        assert isinstance(member.model, PixelModel)
        assert member.model is member.model
    assert [record.message for record in caplog.records] == ["made"] * 2


def test_not_a_number_names_the_member(sample):
    views = Views(NATIVE)
    ensemble = MapEnsemble([Member(PixelModel(), views, 1.0, "good"), Member(PixelModel(broken=True), views, 1.0, "bad one")])
    with pytest.raises(DivergenceError, match=r"^bad one, a\.jpg: class probabilities"):
        found_by(ensemble, sample)


def test_the_score_threshold_leaves_classes_out(sample):
    ensemble = MapEnsemble([Member(PixelModel(gain=0.3), Views(NATIVE))])
    batch = {"sample": sample, "names": ["a"], "im_id": [1]}
    (found,) = ensemble.candidates(batch, type(ensemble.settings)(score_threshold=0.31))
    assert len(found) == 0
    assert found.maps == []


def test_power_mean_of_one_is_itself():
    values = np.random.default_rng(0).random(1000, np.float32)
    for power in (1.0, 2.0, 3.3):
        mean = PowerMean(power)
        mean.add(values, 0.7)
        assert mean.value.astype(np.float32).tobytes() == values.tobytes()
    with pytest.raises(ValueError, match="nothing"):
        PowerMean().value  # noqa: B018


def test_targets_of_a_reader_are_no_part_of_views(sample):
    reader = [{"ReadImage": {}}, {"ResizeFixed": {"height": 30, "width": 50}}, {"ClassMasks": {}}, {"NormalizeToCHW": {}}]
    batch, transform = Views(reader).render(sample, 0)
    assert (transform.height, transform.width) == (30, 50)
    assert "class_masks" not in batch
