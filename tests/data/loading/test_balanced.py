"""Balanced epochs: how often what is drawn, that batches of all ranks have their share, and what decides the order."""

import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import HEIGHT, WIDTH, block, write_csv, write_jpeg

from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import MixedDataSet, SteelDataSet
from ppdet_ext.data.loading.balanced import BalancedSampler, SamplerSpec, Strata, Stratum, interleave, repetitions, strata_of
from ppdet_ext.data.splits.stratify import indicator
from ppdet_ext.errors import UserError

NAMES = ["red", "green", "blue"]
# 60 images of red, 12 of green (of which 2 show red, too), 3 of blue, and 45 of nothing.
CLASSES = [[0]] * 60 + [[1]] * 10 + [[0, 1]] * 2 + [[2]] * 3 + [[]] * 45
PRESENT = indicator(CLASSES, 3)


def drawn(classes=CLASSES, first_pseudo: int | None = None, **options) -> dict[str, int]:
    present = indicator(classes, 3)
    strata = strata_of(present, SamplerSpec(**options), NAMES, len(classes) if first_pseudo is None else first_pseudo)
    return {one.name: one.drawn for one in strata}


def test_strata_are_as_the_data_set_all_alike_or_between() -> None:
    assert drawn() == {"red": 60, "green": 12, "blue": 3, "no object": 45}
    assert drawn(balance=1) == {"red": 30, "green": 30, "blue": 30, "no object": 30}
    assert drawn(balance=0.5) == {"red": 45, "green": 21, "blue": 17, "no object": 37}
    assert drawn(balance=1, images=400) == {"red": 100, "green": 100, "blue": 100, "no object": 100}
    # A share of its own for images without objects: the others are as often as each other.
    assert drawn(balance=1, empty_ratio=0.25) == {"red": 30, "green": 30, "blue": 30, "no object": 30}
    assert drawn(balance=1, empty_ratio=0.5) == {"red": 20, "green": 20, "blue": 20, "no object": 60}
    assert drawn(balance=1, empty_ratio=0) == {"red": 40, "green": 40, "blue": 40, "no object": 0}
    # Away from equal shares, as alpha -0.15 of a data set with a sixth of pseudo-labelled images, of which 12 % come.
    assert drawn([[0]] * 833 + [[1]] * 167, balance=-0.15) == {"red": 883, "green": 117}


def test_pseudo_labelled_images_are_a_stratum_of_their_own_where_they_have_a_share() -> None:
    assert drawn(first_pseudo=100, pseudo_ratio=0.1, images=100) == {
        "red": 54, "green": 11, "blue": 3, "no object": 22, "pseudo-labelled": 10,
    }  # fmt: skip
    assert drawn(first_pseudo=100) == drawn()
    assert drawn(first_pseudo=100, pseudo_ratio=0.5, empty_ratio=0.25, balance=1)["no object"] == 30


@settings(max_examples=60)
@given(
    st.lists(st.sets(st.integers(0, 2)), min_size=1, max_size=60), st.floats(0, 1), st.none() | st.floats(0, 0.5),
    st.none() | st.integers(1, 200), st.integers(0, 5),
)  # fmt: skip
def test_an_epoch_has_just_what_is_drawn_and_nothing_twice_before_all_once(classes, balance, empty, images, epoch) -> None:
    present = indicator(classes, 3)
    if empty is not None and (present[:, -1].all() or not present[:, -1].any()):
        empty = None
    strata = strata_of(present, SamplerSpec(balance, empty, None, images), NAMES, len(classes))
    order = BalancedSampler(strata, len(classes), 4, True, 1).order(epoch)
    assert len(set(order.tolist())) == len(order)
    order %= len(classes)
    assert len(order) == (len(classes) if images is None else images)
    times = Counter(order.tolist())
    assert sorted(index for one in strata for index in one.members.tolist()) == list(range(len(classes)))
    for one in strata:
        own = [times[index] for index in one.members.tolist()]
        assert sum(own) == one.drawn
        assert max(own, default=0) - min(own, default=0) <= 1
        if one.name == "no object":
            assert present[one.members, -1].all()
        else:
            assert present[one.members, NAMES.index(one.name)].all()


@settings(max_examples=100)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=2).filter(any), st.integers(0, 999), st.integers(1, 20))
def test_pieces_of_two_interleaved_parts_differ_by_one_at_most(sizes, seed, length) -> None:
    parts = [np.full(size, part) for part, size in enumerate(sizes)]
    found = interleave(parts, np.random.default_rng(seed))
    assert np.bincount(found, minlength=2).tolist() == sizes
    shares = [int(found[at : at + length].sum()) for at in range(max(1, len(found) - length + 1))]
    assert max(shares) - min(shares) <= 1


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 3), st.booleans())
def test_ranks_part_a_balanced_epoch_and_each_batch_has_its_share(batch_size, world, epoch, drop_last) -> None:
    spec = SamplerSpec(balance=1, pseudo_ratio=0.2, empty_ratio=0.25)
    strata = strata_of(PRESENT, spec, NAMES, 100)
    ranks = [BalancedSampler(strata, 120, batch_size, drop_last, 1, rank, world) for rank in range(world)]
    batches = [sampler.batches(epoch) for sampler in ranks]
    assert all(len(own) == len(sampler) == len(batches[0]) for own, sampler in zip(batches, ranks))
    order = ranks[0].order(epoch).tolist()
    seen = Counter(index for own in batches for batch in own for _, index in batch)
    assert not seen - Counter(order)
    whole = [batch for own in batches for batch in own if len(batch) == batch_size]
    for one in (strata.pseudo, strata.empty):
        members, share = set(one.members.tolist()), one.drawn / len(order) * batch_size
        found = [sum(index % 120 in members for _, index in batch) for batch in whole]
        # Pseudo-labelled ones exactly, up to rounding; those without objects among what these leave.
        assert all(abs(number - share) < (1 if one is strata.pseudo else 2) for number in found)
    # Other batches and ranks have the same images after as many steps of as many images.
    together = BalancedSampler(strata, 120, batch_size * world, drop_last, 1).batches(epoch)
    for step, batch in zip(zip(*batches), together):
        if len(batch) == batch_size * world:
            assert Counter(key for own in step for key in own) == Counter(batch)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    strata = strata_of(PRESENT, SamplerSpec(balance=1), NAMES, 120)

    def order(seed: int = 1, epoch: int = 5, batch_size: int = 1) -> list[int]:
        return BalancedSampler(strata, 120, batch_size, True, seed).order(epoch).tolist()

    assert order() == order() == order(batch_size=7)
    assert order() != order(seed=2)
    assert order() != order(epoch=6)
    # Of a stratum that is drawn in part each epoch draws others.
    reds = [{index for index in order(epoch=epoch) if index % 120 < 60} for epoch in range(24)]
    assert all(len(own) == 30 for own in reds)
    assert set().union(*reds) == set(range(60))


def test_settings_that_make_no_sense_are_refused() -> None:
    for options, message in (
        ({"balance": 2}, r"sampler\.balance: 2 is no number from -1 to 1"),
        ({"empty_ratio": 1}, r"sampler\.empty_ratio: 1 leaves nothing"),
        ({"pseudo_ratio": -0.1}, r"sampler\.pseudo_ratio: -0\.1 is no number from 0 to 1"),
        ({"empty_ratio": 0.5, "pseudo_ratio": 0.5}, "their sum is less than 1"),
        ({"images": 0}, r"sampler\.images: 0 is no whole number of 1 or more"),
        ({"balanced": 1}, r"sampler: unknown key balanced\. Did you mean 'balance'\?"),
    ):
        with pytest.raises(UserError, match=message):
            SamplerSpec.of(options)
    with pytest.raises(UserError, match=r"sampler\.balance: -0\.2 leaves nothing of blue, which has 3 images of 120"):
        drawn(balance=-0.2)
    with pytest.raises(UserError, match=r"sampler\.empty_ratio: 0\.2, .* has no image without an object; set allow_empty"):
        drawn([[0]] * 9, empty_ratio=0.2)
    with pytest.raises(UserError, match=r"sampler\.pseudo_ratio: 0\.2, but .* no pseudo-labelled image; take a !MixedDataSet"):
        drawn(pseudo_ratio=0.2)
    with pytest.raises(UserError, match="no images but those of"):
        drawn([[]], empty_ratio=0.2)


def sheets(folder, classes: dict[str, list[int]]) -> SteelDataSet:
    (folder / "train_images").mkdir(parents=True)
    for seed, name in enumerate(classes):
        write_jpeg(folder / "train_images" / f"{name}.jpg", seed=seed)
    rows = [(f"{n}.jpg", c, block(4 * c, 4, 3, 6).to_kaggle()) for n, found in classes.items() for c in found]
    write_csv(folder, rows)
    return SteelDataSet(str(folder), height=HEIGHT, width=WIDTH)


TRANSFORMS = [{"ReadImage": {}}, {"FlipImage": {}}, {"NormalizeToCHW": {}}]


def test_the_loader_draws_and_says_so_and_goes_on_in_mid_epoch(tmp_path, load, caplog) -> None:
    labelled = sheets(tmp_path / "own", {"a": [1], "b": [1], "c": [1, 3], "d": [], "e": [], "f": []})
    mixed = MixedDataSet(labelled, sheets(tmp_path / "more", {"x": [1], "y": [3]})).load()
    settings = {
        "sample_transforms": TRANSFORMS,
        "batch_size": 4,
        "sampler": {"balance": 1, "empty_ratio": 0.25, "pseudo_ratio": 0.25, "images": 16},
    }
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        loader = load(mixed, settings, worker_num=2)
    text = caplog.text
    assert "sampler: 16 images in an epoch, drawn by the rarest class they show" in text
    table = [line.split() for line in text.splitlines()]
    for row in (["defect_1", "2", "4", "x2.00"], ["defect_3", "1", "4", "x4.00"], ["no", "object", "3", "4", "x1.33"],
                ["pseudo-labelled", "2", "4", "x2.00"]):  # fmt: skip
        assert row in table
    assert "images of an epoch that show a class: defect_1 10, defect_2 0, defect_3 6, defect_4 0" in text
    assert (len(loader), loader.images) == (4, 16)
    loader.set_epoch(2)
    whole = [batch.names for batch in loader.arrays()]
    for batch in whole:
        kinds = Counter("pseudo" if name[0] in "xy" else "empty" if name[0] in "def" else name for name in batch)
        assert (kinds["pseudo"], kinds["empty"]) == (1, 1)
    loader.set_epoch(2, 3)
    assert [batch.names for batch in loader.arrays()] == whole[3:]


def test_an_image_that_comes_again_is_changed_in_another_way(tmp_path, load) -> None:
    dataset = sheets(tmp_path, {"a": [1], "b": []}).load()
    transforms = [{"ReadImage": {}}, {"CropAroundDefect": {"height": 16, "width": 16}}, {"NormalizeToCHW": {}}]
    settings = {"sample_transforms": transforms, "sampler": {"balance": 1, "images": 12}}
    loader = load(dataset, settings)
    pictures = {}
    for batch in loader.arrays():
        pictures.setdefault(batch.names[0], set()).add(batch.image.tobytes())
    assert {name: len(found) for name, found in pictures.items()} == {"a.jpg": 6, "b.jpg": 6}
    # The first time as without a sampler; the second in its own way, whatever the epoch had before it.
    plain_one = load(dataset, {"sample_transforms": transforms})
    assert loader.maker.sample(3, 0).image.tobytes() == plain_one.maker.sample(3, 0).image.tobytes()
    assert loader.maker.sample(3, 2).name == "a.jpg"
    assert loader.maker.sample(3, 2).image.tobytes() != loader.maker.sample(3, 0).image.tobytes()


@settings(max_examples=60)
@given(st.lists(st.integers(0, 6), max_size=30))
def test_repetitions_count_what_came_before(indices) -> None:
    expected = [indices[:at].count(index) for at, index in enumerate(indices)]
    assert repetitions(np.array(indices, np.int64)).tolist() == expected


def test_where_a_sampler_may_stand(tmp_path, steel, load, root) -> None:
    dataset = SteelDataSet(str(steel), height=HEIGHT, width=WIDTH).load()
    settings = {"sample_transforms": TRANSFORMS, "sampler": {"balance": 1}}
    with pytest.raises(UserError, match="a sampler draws at random, which shuffle: false does not go with"):
        load(dataset, {**settings, "shuffle": False})
    with pytest.raises(UserError, match="unknown key sampler"):
        load(dataset, settings, mode="eval")
    with pytest.raises(UserError, match=r"an epoch has 3 images, fewer than one batch \(4 on each of 1"):
        load(dataset, {**settings, "batch_size": 4, "sampler": {"images": 3}})
    (tmp_path / "own.yml").write_text(
        f"_BASE_: [{root}/configs/htc/steel_sample.yml]\n"
        "TrainReader:\n  sampler:\n    balnce: 1\n    images: many\nEvalReader:\n  sampler: {balance: 1}\n"
    )
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "own.yml")
    text = str(caught.value)
    assert "own.yml:4: unknown key 'TrainReader.sampler.balnce'" in text
    assert "Did you mean 'balance'?" in text
    assert "own.yml:5: " in text
    assert "own.yml:7: unknown key 'EvalReader.sampler'" in text
    base = f"{root}/configs/htc/steel_sample.yml"
    with pytest.raises(UserError, match=r"sampler\.empty_ratio: 1 leaves nothing"):
        load_config(base, ["TrainReader.sampler={empty_ratio: 1}"])
    assert load_config(base, ["TrainReader.sampler={balance: 1}"]).TrainReader["sampler"] == {"balance": 1}
    assert load_config(base, ["TrainReader.sampler=null"]).TrainReader["sampler"] is None


def test_a_stratum_of_nothing_draws_nothing() -> None:
    nothing = Stratum("no object", np.zeros(0, np.int64), 0)
    one = Stratum("red", np.array([7]), 2)
    assert Strata([one], empty=nothing).order(np.random.default_rng(0)).tolist() == [7, 7]
